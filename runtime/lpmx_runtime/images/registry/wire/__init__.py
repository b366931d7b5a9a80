"""Requests to registries: connections, credentials, tokens, answers and their errors.

Modules, each using only those above it:

    errors       what a registry or the way to it can refuse
    challenge    the header WWW-Authenticate
    helpers      programs that keep credentials
    credentials  who one is for a registry: the files and helpers of docker, podman and others
    settings     registries.conf: mirrors, other places, blocked and insecure registries
    answers      small bodies, errors in them, and how long to wait
    refusals     what a status means that was not hoped for
    transport    connections: certificates, proxies, redirects, when to try again
    tokens       token services
    client       manifests and blobs of one repository, with the tokens they need
"""
