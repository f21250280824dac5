"""A child of `insula up` that makes the stores ready, deploys the APIs and follows them until all are ready.

A process of its own, because what it needs (grpc, boto3, the bundles) would stay in the memory of `insula up` for ever.
It may be killed and started again at any point: every step can be repeated.
"""
