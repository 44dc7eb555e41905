//! Tests of issuer files: accepted forms, and the errors for files that cannot be used.

use super::*;

const HEAD: &str = "apiVersion: pkcs11-issuer.dev/v1alpha1\nkind: ";

fn cluster(spec: &str) -> String {
    format!("{HEAD}PKCS11ClusterIssuer\nmetadata: {{name: ca}}\nspec: {spec}")
}

fn read(text: &str, namespace: Option<&str>) -> Result<IssuerFile, String> {
    parse(text, namespace).map_err(|error| format!("{error:#}"))
}

#[test]
fn a_namespaced_issuer_takes_its_namespace_from_the_object_or_the_flag() {
    let namespaced = |metadata: &str| {
        format!(
            "{HEAD}PKCS11Issuer\nmetadata: {metadata}\nspec: {{token: t, certificate: {{pem: p}}}}"
        )
    };
    for (metadata, flag, expected) in [
        ("{name: ca, namespace: shop}", None, "PKCS11Issuer shop/ca"),
        (
            "{name: ca, namespace: shop}",
            Some("shop"),
            "PKCS11Issuer shop/ca",
        ),
        ("{name: ca}", Some("shop"), "PKCS11Issuer shop/ca"),
    ] {
        let file = read(&namespaced(metadata), flag).unwrap();
        assert_eq!(file.name.to_string(), expected);
    }
    let elsewhere = cluster("{token: t, certificate: {pem: p}}");
    let file = read(&elsewhere, Some("shop")).unwrap();
    assert_eq!(file.name.to_string(), "PKCS11ClusterIssuer ca");
    for (metadata, flag, expected) in [
        (
            "{name: ca, namespace: shop}",
            Some("bank"),
            "signs for its own namespace only; omit --namespace bank",
        ),
        (
            "{name: ca}",
            None,
            "write metadata.namespace or give --namespace",
        ),
        (
            "{namespace: shop}",
            None,
            "it has no metadata.name; give it one",
        ),
    ] {
        let error = read(&namespaced(metadata), flag).unwrap_err();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_file_that_is_not_an_issuer_is_rejected_with_advice() {
    let misspelt =
        cluster("{token: t, certificate: {pem: p}, profile: {sans: {alowed: {dns: [a]}}}}");
    let second = format!(
        "{}\n---\n{}",
        cluster("{token: t, certificate: {pem: p}}"),
        cluster("{token: u, certificate: {pem: p}}")
    );
    for (text, expected) in [
        (
            "",
            "it has apiVersion \"\" and kind \"\"; give a PKCS11Issuer",
        ),
        (
            "kind: Secret\napiVersion: v1",
            "kind \"Secret\"; give a PKCS11Issuer",
        ),
        (
            "kind: PKCS11Issuer\napiVersion: pkcs11-issuer.dev/v1",
            "apiVersion \"pkcs11-issuer.dev/v1\"",
        ),
        (
            misspelt.as_str(),
            "spec.profile.sans.alowed is unknown; correct it",
        ),
        (&cluster("{certificate: {pem: p}}"), "token"),
        (second.as_str(), "document"),
        ("a: [", ""),
    ] {
        let error = read(text, None).unwrap_err();
        assert!(error.contains(expected), "{error}\n{expected}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn the_output_of_kubectl_get_is_an_issuer_file() {
    let text = format!(
        "{HEAD}PKCS11Issuer
metadata: {{name: ca, namespace: shop, uid: 8f0e, resourceVersion: '7', managedFields: [{{manager: kubectl}}]}}
spec:
  token: t
  ca: Root
  key: null
  certificate: {{pem: p, rootPem: r}}
  profile: {{validity: {{max: 24h}}}}
status: {{conditions: []}}"
    );
    let file = read(&text, None).unwrap();
    assert_eq!(
        file.chain().unwrap(),
        ChainPem {
            chain: b"p".to_vec(),
            root: Some(b"r".to_vec())
        }
    );
    assert_eq!(file.spec.profile.validity.max, "24h");
}

#[test]
fn the_error_for_a_certificate_outside_the_file_says_where_it_is() {
    for (certificate, expected) in [
        (
            "{secretRef: {name: tls}}",
            "from Secret tls, which only the controller reads; write the PEM into spec.certificate.pem",
        ),
        ("{configMapRef: {name: tls}}", "from ConfigMap tls"),
        ("{}", "has no certificate; write the PEM"),
        (
            "{pem: p, secretRef: {name: tls}}",
            "has several certificates",
        ),
    ] {
        let file = read(
            &cluster(&format!("{{token: t, certificate: {certificate}}}")),
            None,
        );
        let error = file.unwrap().chain().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_profile_variable_without_a_valid_value_is_an_error() {
    let profile = "{sans: {allowed: {dns: ['{{namespace}}.svc', '{{name}}.example']}}}";
    let file = read(
        &cluster(&format!(
            "{{token: t, certificate: {{pem: p}}, profile: {profile}}}"
        )),
        None,
    )
    .unwrap();
    for (namespace, name, flag) in [
        (None, Some("web"), "--namespace"),
        (Some("shop"), None, "--name"),
    ] {
        let error = file
            .check_variables(namespace, name)
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(&format!("give {flag}")), "{error}");
    }
    file.check_variables(Some("shop"), Some("web.1")).unwrap();
    for (namespace, name) in [
        ("", "web"),
        ("a.b", "web"),
        ("*", "web"),
        ("shop", "Web"),
        ("shop", "web/../x"),
        ("shop", "a..b"),
        ("-shop", "web"),
    ] {
        let error = file
            .check_variables(Some(namespace), Some(name))
            .unwrap_err();
        assert!(
            error.to_string().contains("of a request; use a-z"),
            "{error}"
        );
    }
}
