"""The cluster of deploy/cluster/ on one machine, in network namespaces: built, broken, judged and taken down."""
