//! The definitions in `crds/` are those of the types.

use std::{fs, path::Path};

use kube::CustomResourceExt as _;
use pkcs11_issuer::{
    api::issuer::{PKCS11ClusterIssuer, PKCS11Issuer},
    cli,
};

#[test]
fn the_files_in_crds_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    for crd in [PKCS11Issuer::crd(), PKCS11ClusterIssuer::crd()] {
        let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let stored = fs::read_to_string(&file).unwrap_or_default();
        let generated = cli::crds(&[crd]).unwrap();
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&file, &generated).unwrap();
        } else {
            assert!(
                stored == generated,
                "{} is out of date; run `make generated`",
                file.display()
            );
        }
    }
}
