"""SeaweedFS as Insula's S3: identities, settings, and what is prepared in SeaweedFS before the services start."""
