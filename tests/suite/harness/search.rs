//! Looking for secrets: in bytes, in files, and in the memory of a process that cannot be dumped.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Secrets in every form in which software writes them: raw, from either end; as hex in both cases;
/// as base64 wherever it begins; as a list of numbers. What is doubled or padded holds the raw form.
pub struct Secrets {
    forms: Vec<(String, Vec<u8>)>,
    /// The forms that begin with two bytes.
    begin: HashMap<[u8; 2], Vec<usize>>,
    /// Whether any does.
    begins: Vec<bool>,
}

/// Where a secret was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which, and in which form.
    pub form: String,
    /// Where.
    pub place: String,
}

impl Secrets {
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut forms: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, bytes) in secrets {
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            for (way, bytes) in [("", bytes), ("reversed ", &reversed)] {
                let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
                forms.push((format!("{name}: {way}raw"), bytes.to_vec()));
                forms.push((format!("{name}: {way}hex"), hex::encode(bytes).into_bytes()));
                forms.push((format!("{name}: {way}HEX"), hex::encode_upper(bytes).into_bytes()));
                forms.push((format!("{name}: {way}list"), list.join(", ").into_bytes()));
                for skipped in 0..3 {
                    let whole = (bytes.len() - skipped) / 3 * 3;
                    let text = STANDARD_NO_PAD.encode(&bytes[skipped..skipped + whole]);
                    forms.push((format!("{name}: {way}base64 at {skipped}"), text.into_bytes()));
                }
            }
        }
        let mut begin: HashMap<[u8; 2], Vec<usize>> = HashMap::new();
        let mut begins = vec![false; 1 << 16];
        for (index, (_, form)) in forms.iter().enumerate() {
            assert_ne!(form[..2], [0, 0], "such a form would not be found");
            begin.entry([form[0], form[1]]).or_default().push(index);
            begins[usize::from(u16::from_be_bytes([form[0], form[1]]))] = true;
        }
        Self { forms, begin, begins }
    }

    /// What stands in these bytes, with its place among them.
    pub fn in_bytes(&self, bytes: &[u8]) -> Vec<(usize, &str)> {
        const PAGE: usize = 4096;
        static NOTHING: [u8; PAGE] = [0; PAGE];
        let mut found = Vec::new();
        for (number, page) in bytes.chunks(PAGE).enumerate() {
            // Most memory is empty, and no form begins with two zeros.
            if page == &NOTHING[..page.len()] {
                continue;
            }
            let mut pair = 0;
            let start = number * PAGE;
            // With the first byte of the next page.
            let end = bytes.len().min(start + page.len() + 1);
            for (index, byte) in bytes[start..end].iter().enumerate() {
                pair = (pair << 8 | usize::from(*byte)) & 0xffff;
                if index == 0 || !self.begins[pair] {
                    continue;
                }
                let place = start + index - 1;
                for form in &self.begin[&[bytes[place], *byte]] {
                    let (name, form) = &self.forms[*form];
                    if bytes[place..].starts_with(form) {
                        found.push((place, name.as_str()));
                    }
                }
            }
        }
        found
    }

    /// What stands in the files below a folder.
    pub fn in_files(&self, folder: &Path) -> Vec<Found> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(self.in_files(&path));
            } else if path.is_file() {
                let place = |form: &str| Found { form: form.to_owned(), place: path.display().to_string() };
                found.extend(self.in_bytes(&fs::read(&path).unwrap()).iter().map(|(_, form)| place(form)));
            }
        }
        found
    }
}

/// A mapping of a process's memory.
pub struct Region {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Never swapped out, and in no core dump.
    pub guarded: bool,
}

/// The whole memory of a process; None where the kernel lets only root look.
pub fn memory(process: u32) -> Option<Vec<Region>> {
    let folder = Path::new("/proc").join(process.to_string());
    let memory = match File::open(folder.join("mem")) {
        Ok(memory) => memory,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        Err(error) => panic!("{error}"),
    };
    let mut regions: Vec<Region> = Vec::new();
    for line in fs::read_to_string(folder.join("smaps")).unwrap().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
            if let Some(region) = regions.last_mut() {
                region.guarded = has("lo") && has("dd");
            }
            continue;
        }
        let Some((start, end)) = first.split_once('-') else { continue };
        let address = |text| u64::from_str_radix(text, 16).ok();
        let (Some(start), Some(end)) = (address(start), address(end)) else { continue };
        let name = words.nth(4).unwrap_or("anonymous").to_owned();
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // What cannot be read holds nothing: guard pages, and the kernel's own.
        let mut length = 0;
        while length < bytes.len() {
            match memory.read_at(&mut bytes[length..], start + length as u64) {
                Ok(read) if read > 0 => length += read,
                _ => break,
            }
        }
        bytes.truncate(length);
        regions.push(Region { name, bytes, guarded: false });
    }
    assert!(regions.iter().map(|region| region.bytes.len()).sum::<usize>() > 1 << 20, "hardly any memory");
    Some(regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_wherever_it_stands() {
        let secret: Vec<u8> = (1..=20).map(|number| number * 11).collect();
        let secrets = Secrets::new([("secret", secret.as_slice())]);
        let reversed: Vec<u8> = secret.iter().rev().copied().collect();
        let mut forms = Vec::new();
        for bytes in [&secret, &reversed] {
            forms.push(bytes.clone());
            forms.push(bytes.repeat(2));
            forms.push([&[0; 44], bytes.as_slice()].concat());
            forms.push(hex::encode(bytes).into_bytes());
            forms.push(hex::encode_upper(bytes).into_bytes());
            forms.push(format!("{bytes:?}").into_bytes());
            for before in 0..3 {
                let text = STANDARD_NO_PAD.encode([&vec![7; before], bytes.as_slice(), &[9; 5]].concat());
                forms.push(text.into_bytes());
            }
        }
        for form in forms {
            assert!(!secrets.in_bytes(&form).is_empty(), "{form:?}");
            // Behind empty pages, and across the edge of one.
            for before in [4095, 4096, 8192 - form.len() / 2] {
                let bytes = [vec![0; before], form.clone(), vec![0; 9000]].concat();
                assert!(!secrets.in_bytes(&bytes).is_empty(), "{form:?} at {before}");
            }
            let mut changed = form;
            for byte in &mut changed {
                *byte ^= 1;
            }
            assert!(secrets.in_bytes(&changed).is_empty());
        }
    }
}
