//! PEM and the text around it.

use super::*;

pub(super) fn texts(corpus: &mut Corpus) {
    let good = plain().pem(key());
    let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
    let framed = |body: &str| {
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
    };
    let relabelled = |label: &str| good.replace("CERTIFICATE REQUEST", label);
    for (name, text) in [
        ("CRLF", good.replace('\n', "\r\n")),
        ("a byte order mark", format!("\u{feff}{good}")),
        (
            "text before",
            format!("Certificate Request:\n    Data:\n{good}"),
        ),
        ("empty lines after", format!("{good}\n\n \n")),
        ("trailing blanks", good.replace('\n', " \t\n")),
        ("one line of base64", framed(&body)),
        ("no line break at the end", good.trim_end().to_owned()),
        ("the older label", relabelled("NEW CERTIFICATE REQUEST")),
    ] {
        corpus.add(name, text, Ok(key().spki().to_vec()));
    }
    for (name, text) in [
        ("nothing", String::new()),
        ("white space", " \n\t\n".to_owned()),
        ("base64 without lines around it", body.clone()),
        (
            "no END line",
            good.replace("-----END CERTIFICATE REQUEST-----\n", ""),
        ),
        (
            "no BEGIN line",
            good.replace("-----BEGIN CERTIFICATE REQUEST-----\n", ""),
        ),
        (
            "END of another label",
            good.replace("END CERTIFICATE REQUEST", "END CERTIFICATE"),
        ),
        ("four dashes", good.replace("-----BEGIN", "----BEGIN")),
        (
            "four dashes at the end of BEGIN",
            good.replacen("REQUEST-----", "REQUEST----", 1),
        ),
        ("a certificate's label", relabelled("CERTIFICATE")),
        ("a public key's label", relabelled("PUBLIC KEY")),
        ("a private key's label", relabelled("PRIVATE KEY")),
        ("a CRL's label", relabelled("X509 CRL")),
        ("a label in lower case", relabelled("certificate request")),
        ("no label", relabelled("")),
        (
            "headers",
            framed(&format!("Proc-Type: 4,ENCRYPTED\n\n{body}")),
        ),
        (
            "an exclamation mark in the base64",
            framed(&format!("!{body}")),
        ),
        ("base64 for URLs", framed(&format!("-_{body}"))),
        ("padding in the middle", framed(&format!("AA=={body}"))),
        ("too much padding", framed(&format!("{body}===="))),
        ("a NUL in the base64", framed(&format!("\0{body}"))),
        ("text after", format!("{good}x")),
        (
            "a BEGIN line inside",
            framed(&format!("{body}\n-----BEGIN CERTIFICATE-----")),
        ),
    ] {
        corpus.refused(name, text, "bad-pem");
    }
    for (name, text) in [
        ("the same request twice", good.repeat(2)),
        ("a certificate after", good.clone() + &fixture().pem()),
        ("a certificate before", fixture().pem() + &good),
    ] {
        corpus.refused(name, text, "multiple-pem-blocks");
    }
    corpus.refused(
        "65 KiB",
        format!("{}{good}", "\n".repeat(65 * 1024)),
        "too-large",
    );
}
