"""The JSON of the interface: bodies that come in, views of rows that go out, one file a resource."""
