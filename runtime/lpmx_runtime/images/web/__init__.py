"""What connections to the hosts of registries need that HTTP itself does not say.

certificates  whom to believe, and who one is: the directories certs.d
proxies       which web proxy leads to a host
"""
