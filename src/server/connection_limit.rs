//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts the connections of a listener.
pub(super) struct ConnectionLimit {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many as there may be.
    All,
    /// There are as many from this address.
    Address,
}

impl Full {
    /// As a label.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::Address => "connections of an address",
        }
    }
}

/// A connection that is counted until this is dropped.
pub(super) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    address: IpAddr,
}

impl ConnectionLimit {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, taken: Mutex::default() }
    }

    pub(super) fn acquire(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPermit, Full> {
        let counted_as = counted_as(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.most {
            return Err(Full::All);
        }
        let here = taken.by_address.get(&counted_as).copied().unwrap_or(0);
        if here >= self.most_per_address {
            return Err(Full::Address);
        }
        taken.by_address.insert(counted_as, here + 1);
        taken.all += 1;
        Ok(ConnectionPermit { limit: self.clone(), address: counted_as })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.limit.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        match taken.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// An IPv4 address, or the 64 bits of an IPv6 network: whoever has one of its addresses has them
/// all.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_until_they_end() {
        let limit = Arc::new(ConnectionLimit::new(3, 2));
        let [one, other, mapped] =
            ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = limit.acquire(one).ok().unwrap();
        let second = limit.acquire(mapped).ok().unwrap();
        assert_eq!(limit.acquire(one).err(), Some(Full::Address));
        let third = limit.acquire(other).ok().unwrap();
        assert_eq!(limit.acquire(other).err(), Some(Full::All));
        drop(first);
        let fourth = limit.acquire(one).ok().unwrap();
        drop((second, third, fourth));
        assert!(limit.taken.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let limit = Arc::new(ConnectionLimit::new(9, 1));
        let _held = limit.acquire("2001:db8::1".parse().unwrap()).ok().unwrap();
        assert_eq!(limit.acquire("2001:db8::2".parse().unwrap()).err(), Some(Full::Address));
        assert!(limit.acquire("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
