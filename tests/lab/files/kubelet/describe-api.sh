# In the source of Kubernetes: make the one file that is kept out of it, the description of its API
# (build/root/Makefile.generated_files).
tagged() {
    grep --recursive --files-with-matches --include='*.go' '+k8s:openapi-gen=' "$@"
}

{
    tagged pkg cmd
    cd staging/src || exit
    tagged k8s.io | grep -v '/code-generator/\|/sample-apiserver/' | sed 's|^|vendor/|'
} | xargs -n 1 dirname | sort -u | sed 's|^|k8s.io/kubernetes/|' | paste -sd , >../packages

go build -o ../openapi-gen ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
GOROOT=$(go env GOROOT) ../openapi-gen --logtostderr -i "$(cat ../packages)" \
    -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h hack/boilerplate/boilerplate.generatego.txt -r ../violations
