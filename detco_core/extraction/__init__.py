"""Features of a whole data set, written to shards: the job, what reads and computes, what writes."""
