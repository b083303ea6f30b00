"""The service that performs rollouts. It is uploaded into a sandbox, and needs fastapi, uvicorn and pydantic alone."""
