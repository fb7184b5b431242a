"""The mesh's side: what every mesh rank does with an envelope, and who passes it on."""
