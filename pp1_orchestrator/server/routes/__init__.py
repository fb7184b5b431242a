"""The routes of the HTTP interface, one file for each subject. Route handlers contain no logic of the stream."""
