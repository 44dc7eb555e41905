//! Does one task on a token: reads an order from standard input, writes a report to standard output.

use std::io::{self, Read};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::Error,
    mechanism::{
        Mechanism,
        dsa::{HedgeType, SignAdditionalContext},
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{
        Attribute, AttributeType, CertificateType, KeyType, MlDsaParameterSetType, ObjectClass,
    },
    session::{Session, UserType},
    slot::{Limit, Slot},
    types::AuthPin,
};
use der::{
    Decode, Encode,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use softhsm_test_helpers::order::{Description, Kept, KeyKind, Order, Report, Task};

/// RFC 5480, section 2.1.1.1.
const P256: &str = "1.2.840.10045.3.1.7";

fn main() -> io::Result<()> {
    let mut order = String::new();
    io::stdin().read_to_string(&mut order)?;
    let report = match serde_json::from_str(&order) {
        Ok(order) => perform(order).unwrap_or_else(Report::Failed),
        Err(error) => Report::Failed(error.to_string()),
    };
    serde_json::to_writer(io::stdout(), &report)?;
    Ok(())
}

fn perform(order: Order) -> Result<Report, String> {
    let module = Pkcs11::new(&order.module).map_err(shown)?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(shown)?;
    match order.task {
        Task::Make {
            label,
            so_pin,
            user_pin,
        } => make(&module, &label, so_pin, user_pin).map_err(shown),
        Task::Describe { serial } => describe(&module, &serial),
        Task::Try { serial, user_pin } => {
            log_in(&module, &serial, user_pin).map(|_session| Report::LoggedIn)
        }
        Task::Generate {
            serial,
            user_pin,
            label,
            id,
            kind,
            kept,
        } => generate(
            &log_in(&module, &serial, user_pin)?,
            &label,
            &id,
            kind,
            kept,
        ),
        Task::Import {
            serial,
            user_pin,
            label,
            ids,
            scalar,
            point,
        } => {
            let session = log_in(&module, &serial, user_pin)?;
            for id in ids {
                import(&session, &label, &id, &scalar, &point)?;
            }
            Ok(Report::Public(point))
        }
        Task::Store {
            serial,
            user_pin,
            label,
            id,
            values,
        } => {
            let session = log_in(&module, &serial, user_pin)?;
            for value in values {
                session
                    .create_object(&[
                        Attribute::Class(ObjectClass::CERTIFICATE),
                        Attribute::CertificateType(CertificateType::X_509),
                        Attribute::Token(true),
                        Attribute::Private(false),
                        Attribute::Label(label.clone().into()),
                        Attribute::Id(id.clone()),
                        Attribute::Subject(Vec::new()),
                        Attribute::Value(value),
                    ])
                    .map_err(shown)?;
            }
            Ok(Report::Stored)
        }
        Task::Sign {
            serial,
            user_pin,
            label,
            id,
            kind,
            octets,
        } => {
            let session = log_in(&module, &serial, user_pin)?;
            let template = [
                Attribute::Class(ObjectClass::PRIVATE_KEY),
                Attribute::Label(label.into()),
                Attribute::Id(id),
            ];
            let keys = session.find_objects(&template).map_err(shown)?;
            let [key] = *keys else {
                return Err(format!("{} keys match", keys.len()));
            };
            let mechanism = match kind {
                KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Mechanism::Sha256RsaPkcs,
                KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => Mechanism::Ecdsa,
                KeyKind::Ed25519 => {
                    Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519))
                }
                KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => {
                    Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None))
                }
            };
            session
                .sign(&mechanism, key, &octets)
                .map(Report::Signed)
                .map_err(shown)
        }
    }
}

fn make(module: &Pkcs11, label: &str, so_pin: String, user_pin: String) -> Result<Report, Error> {
    let mut free = None;
    for slot in module.get_all_slots()? {
        if !module.get_token_info(slot)?.token_initialized() {
            free = Some(slot);
        }
    }
    // SoftHSM always keeps one slot free.
    let slot = free.ok_or(Error::NotSupported)?;
    let so_pin = AuthPin::from(so_pin);
    module.init_token(slot, &so_pin, label)?;
    let session = module.open_rw_session(slot)?;
    session.login(UserType::So, Some(&so_pin))?;
    session.init_pin(&AuthPin::from(user_pin))?;
    Ok(Report::Made(
        module.get_token_info(slot)?.serial_number().to_owned(),
    ))
}

fn describe(module: &Pkcs11, serial: &str) -> Result<Report, String> {
    let slot = find(module, serial)?;
    let info = module.get_token_info(slot).map_err(shown)?;
    Ok(Report::Described(Description {
        pin_count_low: info.user_pin_count_low(),
        pin_final_try: info.user_pin_final_try(),
        pin_locked: info.user_pin_locked(),
        most_sessions: match info.max_session_count() {
            Limit::Max(most) => Some(most),
            Limit::Unavailable | Limit::Infinite => None,
        },
    }))
}

fn find(module: &Pkcs11, serial: &str) -> Result<Slot, String> {
    let slots = module.get_slots_with_initialized_token().map_err(shown)?;
    let right = |slot: &Slot| {
        module
            .get_token_info(*slot)
            .is_ok_and(|info| info.serial_number() == serial)
    };
    let slot = slots.into_iter().find(right);
    slot.ok_or_else(|| format!("no token has serial {serial}"))
}

fn log_in(module: &Pkcs11, serial: &str, user_pin: String) -> Result<Session, String> {
    let slot = find(module, serial)?;
    let session = module.open_rw_session(slot).map_err(shown)?;
    session
        .login(UserType::User, Some(&AuthPin::from(user_pin)))
        .map_err(shown)?;
    Ok(session)
}

/// Returns the attributes that the public and the private half of every key pair have.
fn halves(label: &str, id: &[u8], kept: Kept) -> (Vec<Attribute>, Vec<Attribute>) {
    let both = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(id.into()),
    ];
    let mut public = both.to_vec();
    public.extend([Attribute::Private(false), Attribute::Verify(true)]);
    let mut private = both.to_vec();
    private.extend([
        Attribute::Private(kept.private),
        Attribute::Sensitive(kept.sensitive),
        Attribute::Extractable(kept.extractable),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    if kept.always_authenticate {
        private.push(Attribute::AlwaysAuthenticate(true));
    }
    (public, private)
}

fn import(
    session: &Session,
    label: &str,
    id: &[u8],
    scalar: &[u8],
    point: &[u8],
) -> Result<(), String> {
    let (mut public, mut private) = halves(label, id, Kept::PROTECTED);
    let wrapped = OctetStringRef::new(point).and_then(|point| point.to_der());
    let wrapped = wrapped.map_err(|error| error.to_string())?;
    for (half, class) in [
        (&mut public, ObjectClass::PUBLIC_KEY),
        (&mut private, ObjectClass::PRIVATE_KEY),
    ] {
        half.extend([Attribute::Class(class), Attribute::KeyType(KeyType::EC)]);
        ec(half, P256)?;
    }
    public.push(Attribute::EcPoint(wrapped));
    private.push(Attribute::Value(scalar.into()));
    session.create_object(&public).map_err(shown)?;
    session.create_object(&private).map_err(shown)?;
    Ok(())
}

fn generate(
    session: &Session,
    label: &str,
    id: &[u8],
    kind: KeyKind,
    kept: Kept,
) -> Result<Report, String> {
    let (mut public, private) = halves(label, id, kept);
    let mechanism = match kind {
        KeyKind::Rsa2048 => rsa(&mut public, 2048),
        KeyKind::Rsa3072 => rsa(&mut public, 3072),
        KeyKind::Rsa4096 => rsa(&mut public, 4096),
        KeyKind::P256 => ec(&mut public, P256)?,
        KeyKind::P384 => ec(&mut public, "1.3.132.0.34")?,
        KeyKind::P521 => ec(&mut public, "1.3.132.0.35")?,
        KeyKind::Ed25519 => {
            // SoftHSM requires the curve's name as a PrintableString.
            public.push(Attribute::EcParams(b"\x13\x0cedwards25519".to_vec()));
            Mechanism::EccEdwardsKeyPairGen
        }
        KeyKind::MlDsa44 => ml_dsa(&mut public, MlDsaParameterSetType::ML_DSA_44),
        KeyKind::MlDsa65 => ml_dsa(&mut public, MlDsaParameterSetType::ML_DSA_65),
        KeyKind::MlDsa87 => ml_dsa(&mut public, MlDsaParameterSetType::ML_DSA_87),
    };
    let (public, _private) = session
        .generate_key_pair(&mechanism, &public, &private)
        .map_err(shown)?;
    let asked = [
        AttributeType::Modulus,
        AttributeType::PublicExponent,
        AttributeType::EcPoint,
        AttributeType::Value,
    ];
    let attributes = session.get_attributes(public, &asked).map_err(shown)?;
    match attributes.as_slice() {
        [
            Attribute::Modulus(modulus),
            Attribute::PublicExponent(exponent),
        ] => Ok(Report::Rsa {
            modulus: modulus.clone(),
            exponent: exponent.clone(),
        }),
        // PKCS#11 3.2, section 6.3.5: Edwards points are raw octets. SoftHSM wraps them like other points.
        [Attribute::EcPoint(point)] if kind == KeyKind::Ed25519 && point.len() == 32 => {
            Ok(Report::Public(point.clone()))
        }
        [Attribute::EcPoint(wrapped)] => {
            let point = <&OctetStringRef>::from_der(wrapped).map_err(|error| error.to_string())?;
            Ok(Report::Public(point.as_bytes().to_vec()))
        }
        [Attribute::Value(octets)] => Ok(Report::Public(octets.clone())),
        other => Err(format!(
            "the public key has unexpected attributes: {other:?}"
        )),
    }
}

fn rsa(public: &mut Vec<Attribute>, bits: u64) -> Mechanism<'static> {
    public.push(Attribute::ModulusBits(bits.into()));
    public.push(Attribute::PublicExponent(vec![1, 0, 1]));
    Mechanism::RsaPkcsKeyPairGen
}

fn ec(public: &mut Vec<Attribute>, curve: &str) -> Result<Mechanism<'static>, String> {
    let oid = ObjectIdentifier::new(curve).map_err(|error| error.to_string())?;
    public.push(Attribute::EcParams(
        oid.to_der().map_err(|error| error.to_string())?,
    ));
    Ok(Mechanism::EccKeyPairGen)
}

fn ml_dsa(public: &mut Vec<Attribute>, set: MlDsaParameterSetType) -> Mechanism<'static> {
    public.push(Attribute::ParameterSet(set.into()));
    Mechanism::MlDsaKeyPairGen
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn shown(error: Error) -> String {
    format!("{error:?}")
}
