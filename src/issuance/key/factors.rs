//! Detection of RSA moduli that anybody can factor, because a broken generator made them.
//!
//! Public certificate authorities run the same three tests (CA/Browser Forum TLS BR, section 6.1.1.3).

use num_bigint::BigUint;

use super::KeyError;

/// The largest factor that trial division looks for. NIST SP 800-56B, section 6.4.2 asks for trial division if
/// the maker of the key is not known.
const LARGEST: u32 = 751;

/// The odd primes up to [`LARGEST`].
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time; an index out of range would not compile"
)]
const PRIMES: [u32; 132] = {
    let mut primes = [0; 132];
    let mut count = 0;
    let mut candidate = 3;
    while candidate <= LARGEST {
        let mut divisor = 3;
        while divisor * divisor <= candidate && !candidate.is_multiple_of(divisor) {
            divisor += 2;
        }
        if divisor * divisor > candidate {
            primes[count] = candidate;
            count += 1;
        }
        candidate += 2;
    }
    primes
};

/// The largest prime whose residues are tested for ROCA.
const ROCA_LARGEST: u32 = 167;

/// The base of the powers that ROCA primes are congruent to.
const ROCA_BASE: u32 = 65_537;

/// Rounds of Fermat's method; four times as many rounds find factors twice as far apart.
const FERMAT_ROUNDS: u32 = 110;

/// Checks an odd modulus, given big-endian.
///
/// # Errors
///
/// Returns the first weakness found.
pub(super) fn check(modulus: &[u8]) -> Result<(), KeyError> {
    let modulus = BigUint::from_bytes_be(modulus);
    let mut roca = true;
    for prime in PRIMES {
        let residue = remainder(&modulus, prime);
        if residue == 0 {
            return Err(KeyError::SmallFactor(prime));
        }
        roca &= prime > ROCA_LARGEST || is_power_of_roca_base(residue, prime);
    }
    if roca {
        return Err(KeyError::Roca);
    }
    if has_close_factors(&modulus) {
        return Err(KeyError::CloseFactors);
    }
    Ok(())
}

fn remainder(number: &BigUint, divisor: u32) -> u32 {
    u32::try_from(number % divisor).unwrap_or(0)
}

/// Returns whether the residue is a power of 65537 modulo the prime. In ROCA keys, both primes and hence the modulus
/// are such powers modulo each small prime (Nemec and others, "The Return of Coppersmith's Attack", CCS 2017).
const fn is_power_of_roca_base(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * (ROCA_BASE % prime) % prime;
        if power == 1 {
            return false;
        }
    }
}

/// Searches for n = a² - b² = (a - b)(a + b), with a from the square root of n upwards (CVE-2022-26320).
fn has_close_factors(modulus: &BigUint) -> bool {
    let mut a = modulus.sqrt();
    if &a * &a < *modulus {
        a += 1_u32;
    }
    let mut b_squared = &a * &a - modulus;
    for _ in 0..FERMAT_ROUNDS {
        if is_square(&b_squared) {
            return true;
        }
        // (a + 1)² = a² + 2a + 1
        b_squared += &a * 2_u32 + 1_u32;
        a += 1_u32;
    }
    false
}

/// The residues of squares modulo 64, one bit each. Most numbers have another residue and need no square root.
const SQUARES: u64 = {
    let mut squares = 0;
    let mut root = 0;
    while root < 64 {
        squares |= 1 << (root * root % 64);
        root += 1;
    }
    squares
};

fn is_square(number: &BigUint) -> bool {
    SQUARES >> remainder(number, 64) & 1 == 1 && {
        let root = number.sqrt();
        &root * &root == *number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::testing::TestKey;

    fn check_number(number: &BigUint) -> Result<(), KeyError> {
        check(&number.to_bytes_be())
    }

    /// 2^1024 - 105, the largest prime of 1024 bits.
    fn large_prime() -> BigUint {
        (BigUint::from(1_u32) << 1024) - 105_u32
    }

    fn odd_number_near(number: BigUint) -> BigUint {
        number | BigUint::from(1_u32)
    }

    #[test]
    fn the_table_holds_the_odd_primes_up_to_its_bound() {
        assert_eq!(PRIMES[..4], [3, 5, 7, 11]);
        assert_eq!(PRIMES[130..], [743, 751]);
    }

    #[test]
    fn a_modulus_of_a_good_generator_passes() {
        // RSAPublicKey: two headers of four octets, a zero, then 256 octets.
        let modulus = &TestKey::rsa().octets()[9..265];
        assert_eq!(check(modulus), Ok(()));
    }

    #[test]
    fn each_small_factor_is_found() {
        for prime in PRIMES {
            let smallest = PRIMES
                .into_iter()
                .find(|&p| remainder(&large_prime(), p) == 0 || p == prime);
            assert_eq!(
                check_number(&(large_prime() * prime)),
                Err(KeyError::SmallFactor(smallest.unwrap()))
            );
        }
    }

    #[test]
    fn a_modulus_with_the_residues_of_roca_is_found() {
        let primorial: BigUint = PRIMES[..125].iter().product::<BigUint>() * 2_u32;
        let roca = |k: u32, a: u32| {
            &primorial * k + BigUint::from(ROCA_BASE).modpow(&BigUint::from(a), &primorial)
        };
        assert_eq!(
            check_number(&(roca(1000, 77) * roca(1234, 5))),
            Err(KeyError::Roca)
        );
    }

    #[test]
    fn close_factors_are_found_and_distant_ones_are_not() {
        let p = large_prime();
        assert_eq!(check_number(&(&p * &p)), Err(KeyError::CloseFactors));
        // Numbers this close stand for the neighbouring primes that a broken generator chose.
        let near = odd_number_near(&p - (BigUint::from(1_u32) << 500));
        let distant = odd_number_near(&p - (BigUint::from(1_u32) << 600));
        assert!(has_close_factors(&(&p * near)));
        assert!(!has_close_factors(&(&p * distant)));
    }
}
