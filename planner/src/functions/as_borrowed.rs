//! What functions of ours that stand before a borrowed one say as it does.

/// Methods of a function that answer what the one in its field `borrowed` does.
macro_rules! as_borrowed {
    ($($method:ident),+) => {
        $(as_borrowed!(@ $method);)+
    };
    (@ name) => {
        fn name(&self) -> &str {
            self.borrowed.name()
        }
    };
    (@ aliases) => {
        fn aliases(&self) -> &[String] {
            self.borrowed.aliases()
        }
    };
    (@ signature) => {
        fn signature(&self) -> &datafusion_expr::Signature {
            self.borrowed.signature()
        }
    };
    (@ return_type) => {
        fn return_type(
            &self,
            arguments: &[arrow::datatypes::DataType],
        ) -> datafusion_common::Result<arrow::datatypes::DataType> {
            self.borrowed.inner().return_type(arguments)
        }
    };
    (@ coerce_types) => {
        fn coerce_types(
            &self,
            arguments: &[arrow::datatypes::DataType],
        ) -> datafusion_common::Result<Vec<arrow::datatypes::DataType>> {
            self.borrowed.coerce_types(arguments)
        }
    };
    (@ return_field_from_args) => {
        fn return_field_from_args(
            &self,
            arguments: datafusion_expr::ReturnFieldArgs<'_>,
        ) -> datafusion_common::Result<arrow::datatypes::FieldRef> {
            self.borrowed.return_field_from_args(arguments)
        }
    };
}
