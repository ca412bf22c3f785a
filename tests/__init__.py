"""Everything the tests share; pytest collects the folders below."""
