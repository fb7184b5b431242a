"""The mesh ranks: the leader receives envelopes from rank 0 and passes them on, and every rank runs them."""
