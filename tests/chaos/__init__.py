"""Long trials by hand, beside the tests: `make test-chaos`."""
