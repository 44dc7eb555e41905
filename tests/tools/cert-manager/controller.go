package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cert-manager/cert-manager/internal/controller/feature"
	"github.com/cert-manager/cert-manager/pkg/apis/certmanager"
	"github.com/cert-manager/cert-manager/pkg/controller"
	shimgateways "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/gateways"
	shimingresses "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/ingresses"
	shimlistenersets "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/listenerset"
	crapprover "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	crca "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	crselfsigned "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	csrca "github.com/cert-manager/cert-manager/pkg/controller/certificatesigningrequests/ca"
	csrselfsigned "github.com/cert-manager/cert-manager/pkg/controller/certificatesigningrequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"         // registers the issuer type
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned" // registers the issuer type
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	utilfeature "github.com/cert-manager/cert-manager/pkg/util/feature"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/sets"
)

// settings are the flags that decide which controllers run; the others go into controller.ContextOptions.
type settings struct {
	approver   bool
	gatewayAPI bool
	workers    int
}

// names lists the controllers to run: all of cert-manager's but those of issuers that need a network service.
func (s settings) names() []string {
	names := []string{
		issuers.ControllerName, clusterissuers.ControllerName,
		trigger.ControllerName, issuing.ControllerName, keymanager.ControllerName, requestmanager.ControllerName,
		readiness.ControllerName, revisionmanager.ControllerName, metrics.ControllerName,
		crca.CRControllerName, crselfsigned.CRControllerName,
		shimingresses.ControllerName,
	}
	if s.approver {
		names = append(names, crapprover.ControllerName)
	}
	if s.gatewayAPI {
		names = append(names, shimgateways.ControllerName)
	}
	if s.gatewayAPI && utilfeature.DefaultFeatureGate.Enabled(feature.ListenerSets) {
		names = append(names, shimlistenersets.ControllerName)
	}
	if utilfeature.DefaultFeatureGate.Enabled(feature.ExperimentalCertificateSigningRequestControllers) {
		names = append(names, csrca.CSRControllerName, csrselfsigned.CSRControllerName)
	}
	return names
}

// runController runs cert-manager's controllers until ctx is done or one of them fails.
func runController(ctx context.Context, args []string) error {
	set, opts, err := parseController(args)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	factory, err := controller.NewContextFactory(ctx, opts)
	if err != nil {
		return err
	}
	// The informer factories belong to the context factory: every context that it builds shares them.
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	known := controller.Known()
	for _, name := range set.names() {
		built, err := known[name](factory)
		if err != nil {
			return fmt.Errorf("controller %q: %w", name, err)
		}
		logf.FromContext(ctx).Info("starting", "controller", name)
		group.Go(func() error { return built.Run(set.workers, ctx) })
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if set.gatewayAPI {
		shared.GWShared.Start(ctx.Done())
	}
	return group.Wait()
}

func parseController(args []string) (settings, controller.ContextOptions, error) {
	set := settings{approver: true}
	opts := controller.ContextOptions{
		KubernetesAPIQPS:   20,
		KubernetesAPIBurst: 50,
		IngressShimOptions: controller.IngressShimOptions{
			DefaultIssuerKind:                 "Issuer",
			DefaultIssuerGroup:                certmanager.GroupName,
			DefaultAutoCertificateAnnotations: []string{"kubernetes.io/tls-acme"},
			GatewayAPIExtraProtocols:          sets.New[string](),
		},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes: []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
		},
	}
	flags := newFlags("controller", &opts.Kubeconfig)
	flags.BoolVar(&set.approver, "approver", true, "run the approver, which approves what its RBAC lets it")
	flags.BoolVar(&set.gatewayAPI, "enable-gateway-api", false, "serve annotated Gateways; needs the Gateway API's CRDs")
	flags.Func("gateway-api-extra-protocols", "protocols of Gateways' listeners to serve besides HTTPS and TLS, `one,…`",
		func(protocols string) error {
			opts.IngressShimOptions.GatewayAPIExtraProtocols.Insert(strings.Split(protocols, ",")...)
			return nil
		})
	flags.IntVar(&set.workers, "concurrent-workers", 5, "workers per controller")
	flags.StringVar(&opts.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system",
		"namespace of the Secrets of ClusterIssuers")
	flags.BoolVar(&opts.EnableOwnerRef, "enable-certificate-owner-ref", false, "let a Certificate own its Secret")
	flags.DurationVar(&opts.CertificateRequestMinimumBackoffDuration, "certificate-request-minimum-backoff-duration",
		time.Hour, "wait after the first failed request of a Certificate, doubled with each further one")
	flags.DurationVar(&opts.CertificateRequestMaximumBackoffDuration, "certificate-request-maximum-backoff-duration",
		32*time.Hour, "longest wait after a failed request")
	if err := flags.Parse(args); err != nil {
		return set, opts, err
	}
	opts.EnableGatewayAPI = set.gatewayAPI
	opts.EnableGatewayAPIListenerSet = set.gatewayAPI
	return set, opts, nil
}
