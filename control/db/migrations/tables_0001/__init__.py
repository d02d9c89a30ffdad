"""The tables of migration 0001, as they were then: never changed again, whatever the models become."""
