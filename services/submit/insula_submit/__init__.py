"""The service submit: accepts payloads, and deploys, describes and deletes APIs."""
