"""What is known of Calico's releases: sums of their manifests, fields of Felix. Pure."""

from __future__ import annotations

#: release -> file of its folder `manifests` -> sha256
SUMS: dict[str, dict[str, str]] = {
    "v3.32.1": {
        "operator-crds.yaml": "192f8b2d934ef24b62e86b7e1a6e1762d1c8af26a916f78057bc13fa5ed60f71",
        "tigera-operator.yaml": "f18e073794207d372606bc3ea6f8fd73972f86d6828f4ba666dfe0d4aa8ab07f",
        "calico.yaml": "a1df919d9721cf667accdc3e72848911b0cb25cfab7d2478ad0c996302c95744",
        "calico-typha.yaml": "7ecc42a5ca2bd47764384f5c52b89b007c06cbf907fd3214c1cf4abc75ead76f",
        "canal.yaml": "aa58a7b245586a90d75d969b9184326f6218acea7e4951ce2931113cd8e91e39",
    },
    "v3.31.7": {
        "operator-crds.yaml": "380414d5756e9a1af29ddb1ad70cada07aa344ae7a2680ba7355248621f8adbf",
        "tigera-operator.yaml": "092c10b3d0cb73617aca51367ca59755348f4647e6d2e63fa4e5b81266203214",
        "calico.yaml": "d6d8a489a4ed8e5b8efd8b339047b496ca657b55ee2e3618e791507b0a853e8d",
        "calico-typha.yaml": "86bdaabf6098f98320773a257f3408f70a8654e9ccf26a48e717ef2d028d71b7",
        "canal.yaml": "f3320f85a4ee78893ad2b60f223a76b4ecc9ba4b0bbdfb2d501f01d69a3fdefb",
    },
}

#: install -> the files it needs, in the order in which they are applied. Since v3.30 the operator's
#: own manifest holds no CRD.
FILES = {
    "operator": ("operator-crds.yaml", "tigera-operator.yaml"),
    "manifest": ("calico.yaml",),
    "manifest-typha": ("calico-typha.yaml",),
    "canal": ("canal.yaml",),
}

#: Fields of Felix that take one of a few words.
WORDS: dict[str, tuple[str, ...]] = {
    "iptablesBackend": ("Legacy", "NFT", "Auto"),
    "chainInsertMode": ("Insert", "Append"),
    "defaultEndpointToHostAction": ("Drop", "Accept", "Return"),
    "iptablesFilterAllowAction": ("Accept", "Return"),
    "iptablesMangleAllowAction": ("Accept", "Return"),
    "natOutgoingExclusions": ("IPPoolsOnly", "IPPoolsAndHostIPs"),
    "serviceLoopPrevention": ("Drop", "Reject", "Disabled"),
    "workloadSourceSpoofing": ("Disabled", "Any"),
    "floatingIPs": ("Enabled", "Disabled"),
    "ipForwarding": ("Enabled", "Disabled"),
    "routeSource": ("WorkloadIPs", "CalicoIPAM"),
    "programClusterRoutes": ("Enabled", "Disabled"),
    "awsSrcDstCheck": ("DoNothing", "Enable", "Disable"),
    "logSeverityScreen": ("Trace", "Debug", "Info", "Warning", "Error", "Fatal"),
}

#: Fields of Felix that take a time. The definition has no fractions: 500ms and not 0.5s.
TIMES = frozenset(
    {
        "iptablesRefreshInterval", "ipsetsRefreshInterval", "routeRefreshInterval",
        "interfaceRefreshInterval", "iptablesPostWriteCheckInterval",
        "iptablesLockProbeInterval", "netlinkTimeout", "reportingInterval", "reportingTTL",
        "endpointReportingDelay", "wireguardKeepAlive",
    }
)  # fmt: skip

#: FelixConfiguration.spec, the fields that are worth tuning and exist in v3.31 and v3.32 alike.
FELIX: dict[str, type] = {
    **dict.fromkeys(
        (
            *TIMES, *WORDS, "nftablesRefreshInterval", "iptablesNATOutgoingInterfaceFilter",
            "natOutgoingAddress", "featureDetectOverride", "mtuIfacePattern",
            "prometheusMetricsHost",
        ),
        str,
    ),
    **dict.fromkeys(
        (
            "maxIpsetSize", "iptablesMarkMask", "deviceRouteProtocol", "prometheusMetricsPort",
            "healthPort", "wireguardListeningPort", "vxlanPort", "vxlanVNI", "goMaxProcs",
            "goGCThreshold",
        ),
        int,
    ),
    **dict.fromkeys(
        (
            "removeExternalRoutes", "endpointReportingEnabled", "healthEnabled",
            "usageReportingEnabled", "prometheusMetricsEnabled", "prometheusGoMetricsEnabled",
            "prometheusProcessMetricsEnabled", "wireguardHostEncryptionEnabled",
            "allowVXLANPacketsFromWorkloads", "allowIPIPPacketsFromWorkloads", "routeSyncDisabled",
        ),
        bool,
    ),
}  # fmt: skip
