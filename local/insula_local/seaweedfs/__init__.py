"""SeaweedFS as Insula's S3: its identities and settings, and what is written into it before the services start."""
