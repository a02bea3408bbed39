//! Benches of kernels, operators and whole queries; the texts of the queries are in `queries`.
