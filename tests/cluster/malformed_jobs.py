"""RayJobs of KubeRay with one thing wrong each."""

from tests.cluster.shipped import JOB, MalformedCluster

MALFORMED_JOBS = [
    MalformedCluster("an-old-interface", JOB, "ray.io/v1\n", "ray.io/v1alpha1\n", "write apiVersion: ray.io/v1"),
    MalformedCluster("another-kind", JOB, "kind: RayJob", "kind: RayCluster", "this check is for a job"),
    MalformedCluster(
        "another-ray-version", JOB, 'rayVersion: "2.60.0"', 'rayVersion: "2.9.0"', "not the Ray of constraints.txt"
    ),
    MalformedCluster("another-image", JOB, "0.1.0-ray2.60.0-py311", "0.1.0-ray2.52.0-py311", "is not of Ray 2.60.0"),
    MalformedCluster("the-latest-image", JOB, ":0.1.0-ray2.60.0-py311", ":latest", "may be another image tomorrow"),
    MalformedCluster("an-image-that-does-not-say", JOB, ":0.1.0-ray2.60.0-py311", ":0.1.0", "does not say its Ray"),
    MalformedCluster("an-image-of-another-python", JOB, "2.60.0-py311", "2.60.0-py310", "has Python 3.10"),
    MalformedCluster(
        "a-misspelt-option-of-the-job",
        JOB,
        "--address auto",
        "--triels 5 --address auto",
        "--triels: no option of tune-cnn search; did you mean '--trials'?",
    ),
    MalformedCluster(
        "a-misspelt-option-with-its-value", JOB, "--address auto", "--addres=auto", "did you mean '--address'?"
    ),
    MalformedCluster("an-option-of-another-command", JOB, "--address auto", "--best-per x", "known here: --data"),
    MalformedCluster("a-misspelt-command", JOB, "tune-cnn search", "tune-cnn serch", "did you mean 'search'?"),
    MalformedCluster(
        "a-misspelt-option-in-a-line-that-goes-on",
        JOB,
        "tune-cnn search /shared/photos.yaml --data",
        "|\n    tune-cnn search /shared/photos.yaml \\\n      --daata /shared/x --data",
        "did you mean '--data'?",
    ),
    MalformedCluster("an-open-quote", JOB, "--address auto", "--name 'x", "close the quote"),
    MalformedCluster("no-entrypoint", JOB, "  entrypoint: tune", "  # tune", "spec.entrypoint: missing", above=1),
    MalformedCluster("no-limits-at-all", JOB, 'limits: {cpu: "4", memory: 16Gi}', "", "limits: missing"),
    MalformedCluster(
        "no-token-on-kubernetes",
        JOB,
        "authOptions: {mode: token} ",
        "authOptions: {mode: disabled} ",
        "can run what he likes",
    ),
    MalformedCluster(
        "a-privileged-container",
        JOB,
        "{allowPrivilegeEscalation: false,",
        "{privileged: true, allowPrivilegeEscalation: false,",
        "the whole node; remove it",
    ),
    MalformedCluster(
        "a-container-that-may-become-root",
        JOB,
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "may become root",
    ),
    MalformedCluster(
        "a-pod-of-root", JOB, "runAsNonRoot: true", "runAsNonRoot: false", "the containers may run as root"
    ),
    MalformedCluster(
        "no-limits", JOB, 'limits: {cpu: "4", memory: 16Gi}', 'limits: {cpu: "4"}', "it may take the whole node"
    ),
    MalformedCluster(
        "the-node's-own-network",
        JOB,
        "          containers:",
        "          hostNetwork: true\n          containers:",
        "true gives the pod the node's own",
    ),
    MalformedCluster(
        "a-folder-of-the-node",
        JOB,
        "persistentVolumeClaim: {claimName: shared}",
        "hostPath: {path: /}",
        "gives the pod a folder of the node",
    ),
    MalformedCluster(
        "reached-from-outside",
        JOB,
        "serviceType: ClusterIP",
        "serviceType: LoadBalancer",
        "lets the head be reached from outside",
    ),
    MalformedCluster("trials-on-the-head-pod", JOB, '{num-cpus: "0"}', "{}", "could take the driver down"),
    MalformedCluster("pods-that-never-go", JOB, "minReplicas: 0", "minReplicas: 1", "with nothing to do"),
    MalformedCluster(
        "pods-without-limit",
        JOB,
        "        maxReplicas: 4                # what may be spent; without limit by default\n",
        "",
        "there would be no limit",
    ),
    MalformedCluster(
        "a-job-without-end",
        JOB,
        "activeDeadlineSeconds: 86400",
        "# activeDeadlineSeconds",
        "would cost for ever",
        above=4,
    ),
    MalformedCluster(
        "a-cluster-that-stays",
        JOB,
        "shutdownAfterJobFinishes: true",
        "shutdownAfterJobFinishes: false",
        "after the job",
    ),
    MalformedCluster(
        "a-misspelt-name-of-kuberay", JOB, "backoffLimit: 2", "backofLimit: 2", "did you mean 'backoffLimit'?"
    ),
    MalformedCluster(
        "yaml-of-two-minds", JOB, "serviceType: ClusterIP", "serviceType: no", "is taken for something else by Ray"
    ),
    MalformedCluster(
        "a-gpu-on-the-head-pod",
        JOB,
        'limits: {cpu: "4", memory: 16Gi}',
        'limits: {cpu: "4", memory: 16Gi, nvidia.com/gpu: 1}',
        "a GPU that no trial uses",
    ),
    MalformedCluster(
        "gpu-trials-on-the-head-pod", JOB, '{num-cpus: "0"}', '{num-cpus: "0", num-gpus: "1"}', "trials would run"
    ),
    MalformedCluster(
        "another-cluster",
        JOB,
        "  backoffLimit: 2",
        "  clusterSelector: {ray.io/cluster: old}\n  backoffLimit: 2",
        "nothing below rayClusterSpec would count",
    ),
    MalformedCluster(
        "a-container-of-root",
        JOB,
        "{allowPrivilegeEscalation: false,",
        "{runAsNonRoot: false, allowPrivilegeEscalation: false,",
        "lets the container run as root, whatever the pod says",
    ),
    MalformedCluster(
        "rights-of-the-node", JOB, "{drop: [ALL]}", "{drop: [ALL], add: [SYS_ADMIN]}", "gives the container rights"
    ),
    MalformedCluster(
        "a-port-of-the-node",
        JOB,
        "              volumeMounts:",
        "              ports: [{containerPort: 8265, hostPort: 8265}]\n              volumeMounts:",
        "opens a port of the node",
    ),
    MalformedCluster(
        "authentication-off-in-a-pod",
        JOB,
        "              volumeMounts:",
        "              env: [{name: RAY_AUTH_MODE, value: disabled}]\n              volumeMounts:",
        "'disabled' switches authentication off",
    ),
    MalformedCluster(
        "a-secret-in-a-pod",
        JOB,
        "              volumeMounts:",
        "              env: [{name: HF_TOKEN, value: hf_abcdefgh}]\n              volumeMounts:",
        "a secret stands in the file",
    ),
    MalformedCluster(
        "a-service-reached-from-outside",
        JOB,
        "      serviceType: ClusterIP",
        "      headService: {spec: {type: NodePort}}\n      serviceType: ClusterIP",
        "'NodePort' lets the head be reached from outside",
    ),
    MalformedCluster(
        "pods-that-stay-for-a-day",
        JOB,
        "idleTimeoutSeconds: 300",
        "idleTimeoutSeconds: 86400",
        "would pay for idle pods",
    ),
]
