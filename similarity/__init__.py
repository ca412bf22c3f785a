"""One contract for finding similar products, and the indexes behind it."""
