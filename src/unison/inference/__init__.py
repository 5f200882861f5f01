"""Speaking: requests in, audio out, from a contract and its weights alone."""
