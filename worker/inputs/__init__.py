"""Everything a job needs, brought into its folder before it starts; its spec becomes `job.json`."""
