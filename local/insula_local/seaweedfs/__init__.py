"""SeaweedFS as Insula's S3: identities, settings, and the steps between its start and that of the services."""
