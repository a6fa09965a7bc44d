#!/usr/bin/env bash
# Tries the two commands of the README on a machine where nothing was installed by hand: makes a minimal
# Debian in a folder, with the Rust of this machine, and runs them there from a fresh clone, as a person
# who is not root and as root.
#
# Usage: scripts/fresh.sh [COMMAND]     instead of both commands of the README, this one
#
# WHO="person root" says who runs them; FRESH_DIR where the system is made (default: in /var/tmp). Needs
# root on this machine, to install mmdebstrap if it is missing and to change the root folder.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
    echo "run this as root: it makes a system in a folder and changes into it" >&2
    exit 1
fi
commands=("make demo" "make test")
[ $# -eq 0 ] || commands=("$*")
command -v mmdebstrap >/dev/null 2>&1 || {
    echo "==> installing from Debian: mmdebstrap"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
}
rustup=${RUSTUP_HOME:-$HOME/.rustup}
cargo=${CARGO_HOME:-$HOME/.cargo}
folder=$(mktemp -d "${FRESH_DIR:-/var/tmp}/vendkey-fresh.XXXXXX")
root=$folder/root

# Mounted last, taken away first, on every way out.
mounted=()
clean() {
    for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do
        umount -l "${mounted[i]}" || true
    done
    # Never through a mount that is still there.
    rm -rf --one-file-system "$folder"
}
trap clean EXIT
trap 'exit 130' INT TERM

bind() { # bind FROM TO [ro]
    mkdir -p "$root$2"
    mount --rbind "$1" "$root$2"
    mounted+=("$root$2")
    mount --make-rslave "$root$2"
    [ "${3:-}" != ro ] || mount -o remount,bind,ro "$root$2"
}

. /etc/os-release
echo "==> a minimal Debian $VERSION_CODENAME in $root"
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
    if [ -s "$file" ]; then sources+=("$file"); fi
done
# The hook is run by mmdebstrap, which gives it the folder.
# shellcheck disable=SC2016
copy_settings='mkdir -p "$1/etc/apt/apt.conf.d"; cp /etc/apt/apt.conf.d/* "$1/etc/apt/apt.conf.d/" 2>/dev/null || true'
# As a new machine has it: apt, sudo, certificates, the user's name service, no compiler. make is what people type.
mmdebstrap --quiet --variant=apt --include=ca-certificates,sudo,make \
    --setup-hook="$copy_settings" \
    "$VERSION_CODENAME" "$root" "${sources[@]}"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
# What this machine trusts, where it trusts more than Debian does.
mkdir -p "$root/usr/local/share/ca-certificates"
cp -a /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
cp -a /etc/ssl/certs/. "$root/etc/ssl/certs/" 2>/dev/null || true
chroot "$root" useradd --create-home --shell /bin/bash person
echo 'person ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/person"
bind /proc /proc
bind /sys /sys ro
bind /dev /dev
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mounted+=("$root/dev/shm")
bind "$rustup" /opt/rustup ro

try() { # try WHO HOME COMMAND
    local who=$1 home=$2 begun=$SECONDS
    echo "==> $who: $3"
    chroot "$root" su "$who" -s /bin/bash -c "
        set -e
        cd $home/vendkey
        export HOME=$home RUSTUP_HOME=/opt/rustup CARGO_HOME=$home/.cargo CARGO_TERM_COLOR=never
        export PATH=/opt/rust-bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        $3"
    echo "==> $who: $3: $(((SECONDS - begun) / 60)) min $(((SECONDS - begun) % 60)) s"
    taken+=("$who: $3: $((SECONDS - begun)) s")
}

# Rust's programs, and what cargo has fetched already: a copy for each person, since cargo writes there.
mkdir -p "$root/opt/rust-bin"
cp -a "$cargo"/bin/{cargo,rustc,rustdoc,rustfmt,cargo-fmt,cargo-clippy,clippy-driver,rustup} "$root/opt/rust-bin/" 2>/dev/null || true
taken=()
for who in ${WHO:-person root}; do
    home=/root
    [ "$who" = root ] || home=/home/$who
    git clone -q --no-hardlinks . "$root$home/vendkey"
    mkdir -p "$root$home/.cargo"
    cp -a "$cargo/registry" "$root$home/.cargo/" 2>/dev/null || true
    cp "$cargo"/config.toml "$root$home/.cargo/" 2>/dev/null || true
    chroot "$root" chown -R "$who" "$home/vendkey" "$home/.cargo"
    for command in "${commands[@]}"; do
        try "$who" "$home" "$command"
    done
    rm -rf "${root:?}$home/vendkey" "${root:?}$home/.cargo"
done
printf '==> a fresh machine needs no more: %s\n' "${taken[@]}"
