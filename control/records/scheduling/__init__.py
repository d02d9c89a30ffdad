"""Which run goes where and when: workers and their slots, claims, gangs, limits, waiting and making room."""
