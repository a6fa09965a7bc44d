//! How many connections there may be, in all and from one place.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// The places of a listener's connections.
pub(super) struct Slots {
    most: usize,
    most_per_place: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    places: HashMap<IpAddr, usize>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many as there may be.
    All,
    /// There are as many from this place.
    Place,
}

impl Full {
    /// As a label.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::Place => "connections of an address",
        }
    }
}

/// A place that is given back when dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    place: IpAddr,
}

impl Slots {
    pub(super) fn new(most: usize, most_per_place: usize) -> Self {
        Self { most, most_per_place, taken: Mutex::default() }
    }

    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let place = place(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.most {
            return Err(Full::All);
        }
        let here = taken.places.get(&place).copied().unwrap_or(0);
        if here >= self.most_per_place {
            return Err(Full::Place);
        }
        taken.places.insert(place, here + 1);
        taken.all += 1;
        Ok(Slot { slots: self.clone(), place })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        match taken.places.get_mut(&self.place) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.places.remove(&self.place);
            }
        }
    }
}

/// An IPv4 address, or the 64 bits of an IPv6 network: whoever has one of its addresses has them
/// all.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let slots = Arc::new(Slots::new(3, 2));
        let [one, other, mapped] =
            ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = slots.take(one).ok().unwrap();
        let second = slots.take(mapped).ok().unwrap();
        assert_eq!(slots.take(one).err(), Some(Full::Place));
        let third = slots.take(other).ok().unwrap();
        assert_eq!(slots.take(other).err(), Some(Full::All));
        drop(first);
        let fourth = slots.take(one).ok().unwrap();
        drop((second, third, fourth));
        assert!(slots.taken.lock().unwrap().places.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_place() {
        let slots = Arc::new(Slots::new(9, 1));
        let _held = slots.take("2001:db8::1".parse().unwrap()).ok().unwrap();
        assert_eq!(slots.take("2001:db8::2".parse().unwrap()).err(), Some(Full::Place));
        assert!(slots.take("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
