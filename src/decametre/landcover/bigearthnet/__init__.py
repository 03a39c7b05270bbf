"""BigEarthNet as published, unpacked or as an LMDB: readers and the import into a store."""
