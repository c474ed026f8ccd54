"""Selection methods: one file each, which declares the constant `METHOD` (see `selection.method`)."""
