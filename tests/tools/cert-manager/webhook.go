package main

import (
	"context"

	"github.com/cert-manager/cert-manager/internal/webhook"
	_ "github.com/cert-manager/cert-manager/internal/webhook/feature" // registers the webhook's feature gates
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
)

// runWebhook serves cert-manager's admission webhooks until ctx is done.
func runWebhook(ctx context.Context, args []string) error {
	cfg, err := options.NewWebhookConfiguration()
	if err != nil {
		return err
	}
	cfg.HealthzPort = 0
	cfg.MetricsListenAddress = "0"
	flags := newFlags("webhook", &cfg.KubeConfig)
	port := flags.Int("secure-port", int(cfg.SecurePort), "port to serve on")
	flags.StringVar(&cfg.TLSConfig.Filesystem.CertFile, "tls-cert-file", "", "serving certificate (required)")
	flags.StringVar(&cfg.TLSConfig.Filesystem.KeyFile, "tls-private-key-file", "", "its private key (required)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg.SecurePort = int32(*port)

	server, err := webhook.NewCertManagerWebhookServer(logf.FromContext(ctx), *cfg)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
