//! Networks of IP addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use super::PatternError;
use crate::issuance::san::mapped;

/// An IP network. A single address is a network with only that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    first: IpAddr,
    /// Number of leading bits that are compared: at most 32 or 128.
    prefix: u8,
}

impl IpNetwork {
    /// Builds a network from an address and a mask, as a name constraint carries them.
    pub(in crate::issuance) fn of_mask(address: &[u8], mask: &[u8]) -> Result<Self, PatternError> {
        let malformed =
            || PatternError::Ip(format!("{}/{}", hex::encode(address), hex::encode(mask)));
        let first = if let Ok(octets) = <[u8; 4]>::try_from(address) {
            IpAddr::from(octets)
        } else {
            let octets = <[u8; 16]>::try_from(address).map_err(|_| malformed())?;
            IpAddr::from(octets)
        };
        let prefix: u32 = mask.iter().map(|octet| octet.leading_ones()).sum();
        let network: Self = format!("{first}/{prefix}").parse()?;
        // A mask with ones after a zero is not a prefix.
        if network.octets() == [address, mask].concat() {
            Ok(network)
        } else {
            Err(malformed())
        }
    }

    /// Returns whether the whole network lies in `outer`.
    pub(in crate::issuance) fn is_within(self, outer: &Self) -> bool {
        self.prefix >= outer.prefix && outer.contains(self.first)
    }

    /// Returns whether the address lies in the network. An address of the other family never does.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                (first.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                (first.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Returns address and mask, as a name constraint carries them (RFC 5280, section 4.2.1.10).
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        match self.first {
            IpAddr::V4(first) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                [first.octets(), mask.to_be_bytes()].concat()
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                [first.octets(), mask.to_be_bytes()].concat()
            }
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for IpNetwork {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let malformed = || PatternError::Ip(text.to_owned());
        let (first, prefix) = match text.split_once('/') {
            Some((first, prefix)) => (first, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| malformed())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                prefix.parse().map_err(|_| malformed())?
            }
            Some(_) => return Err(malformed()),
        };
        if prefix > most {
            return Err(malformed());
        }
        if mapped(first).is_some() {
            return Err(PatternError::Mapped(text.to_owned()));
        }
        let host_bits = match first {
            IpAddr::V4(first) => first.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
            IpAddr::V6(first) => first.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
        };
        if host_bits {
            return Err(PatternError::HostBits(text.to_owned()));
        }
        Ok(Self { first, prefix })
    }
}
