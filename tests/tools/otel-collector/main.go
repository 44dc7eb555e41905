// The OpenTelemetry Collector with its OTLP receiver, and an exporter that writes what it receives to a file: one JSON object
// per request, as OTLP/JSON defines it. Takes the flags of the collector, such as --config.
package main

import (
	"context"
	"log"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

var lines = component.MustNewType("lines")

type config struct {
	Path string `mapstructure:"path"`
}

type writer struct {
	component.StartFunc
	component.ShutdownFunc
	mutex sync.Mutex
	file  *os.File
}

func (*writer) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (w *writer) ConsumeTraces(_ context.Context, traces ptrace.Traces) error {
	line, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
	if err != nil {
		return err
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	_, err = w.file.Write(append(line, '\n'))
	return err
}

func open(_ context.Context, _ exporter.Settings, settings component.Config) (exporter.Traces, error) {
	file, err := os.OpenFile(settings.(*config).Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &writer{file: file}, nil
}

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	toFile := exporter.NewFactory(lines, func() component.Config { return &config{} },
		exporter.WithTraces(open, component.StabilityLevelDevelopment))
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](toFile)
	return otelcol.Factories{
		Receivers: receivers,
		Exporters: exporters,
		Telemetry: otelconftelemetry.NewFactory(),
	}, err
}

func main() {
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otel-collector", Version: "0.165.0"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory()},
				DefaultScheme:     "yaml",
			},
		},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}
