"""Which images are wanted, and whether their signatures are good. Nothing here uses the network.

Modules, each using only those above it:

    keys       public keys, and what they sign
    cosign     the two forms of signatures that cosign writes with a key
    policy     whose signature an image needs: trust.yaml, and what policy.json rejects
"""
