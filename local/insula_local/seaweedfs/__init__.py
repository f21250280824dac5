"""SeaweedFS as Insula's S3: its identities, its settings, and its preparation before the services start."""
