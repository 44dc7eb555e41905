//! `pkcs11-issuer crds`: prints the CRDs as YAML documents, for `kubectl apply -f -`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Returns the definitions as one stream of YAML documents, each of which starts with `---`.
///
/// # Errors
/// A definition cannot be written as YAML. This never happens to a derived definition.
pub fn crds(definitions: &[CustomResourceDefinition]) -> Result<String, serde_saphyr::ser::Error> {
    let documents = definitions.iter().map(|definition| {
        let text = serde_saphyr::to_string(definition)?;
        Ok(format!("---\n{}\n", text.trim_end()))
    });
    documents.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_round_trips_through_its_own_document() {
        let mut one = CustomResourceDefinition::default();
        one.metadata.name = Some("yes".to_owned());
        let mut two = CustomResourceDefinition::default();
        two.spec.group = "rule: self == 'a'\nand more: #2".to_owned();
        let definitions = [one, two];
        let text = crds(&definitions).unwrap();
        let documents: Vec<_> = text.split("---\n").skip(1).collect();
        let read: Vec<CustomResourceDefinition> = documents
            .iter()
            .map(|text| serde_saphyr::from_str(text).unwrap())
            .collect();
        assert_eq!(read, definitions);
    }
}
