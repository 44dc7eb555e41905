//! The control plane and cert-manager, for real.
