"""Every message class of the product, one module per domain."""
