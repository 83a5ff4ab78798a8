//! Pure planning for kafka-direct: watermarks, a selection and limits become a batch plan.
