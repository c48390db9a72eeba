package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/checks/probe"
	"github.com/solovip/solovip/config"
)

func genhashCommand() *cli.Command {
	return &cli.Command{
		Name:  "genhash",
		Usage: "fetch a page and print its MD5 sum, for digest in HTTP_GET and SSL_GET",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "server", Aliases: []string{"s"}, Usage: "`ADDRESS` to connect to"},
			&cli.UintFlag{Name: "port", Aliases: []string{"p"}, Usage: "`PORT` to connect to", DefaultText: "80, with -S 443"},
			&cli.StringFlag{Name: "url", Aliases: []string{"u"}, Usage: "`PATH` of the page", Value: "/"},
			&cli.BoolFlag{Name: "use-ssl", Aliases: []string{"S"}, Usage: "fetch it over TLS, as SSL_GET"},
			&cli.BoolFlag{Name: "use-sni", Aliases: []string{"I"}, Usage: "name the host in TLS too"},
			&cli.StringFlag{Name: "use-virtualhost", Aliases: []string{"V"}, Usage: "`HOST` to ask for"},
			&cli.StringFlag{Name: "protocol", Aliases: []string{"P"}, Usage: "`VERSION` of HTTP: 1.0, 1.0c, 1.1, or 2 with -S", Value: "1.0"},
			&cli.UintFlag{Name: "timeout", Aliases: []string{"t"}, Usage: "`SECONDS` that it may take", Value: 5},
			&cli.UintFlag{Name: "fwmark", Aliases: []string{"m"}, Usage: "`MARK` of the packets"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "print the header and the body too"},
		},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			checker, err := genhashChecker(c)
			if err != nil {
				return cli.Exit(err, exitUsage)
			}
			ctx, cancel := context.WithTimeout(c.Context, checker.Timeout)
			defer cancel()
			page, err := probe.Fetch(ctx, checker)
			if err != nil {
				return err
			}
			if c.Bool("verbose") {
				err = printPage(c.App.Writer, page)
			}
			_, last := fmt.Fprintf(c.App.Writer, "%s\n", page.Digest)
			return errors.Join(err, last)
		},
	}
}

// genhashChecker returns the checker that fetches what the flags say.
func genhashChecker(c *cli.Context) (config.Checker, error) {
	check := config.HTTPCheck{URLs: []config.URL{{Path: c.String("url"), Host: c.String("use-virtualhost")}}}
	port := uint(80)
	if c.Bool("use-ssl") {
		check.TLS, port = &config.TLS{SNI: c.Bool("use-sni")}, 443
	}
	if c.IsSet("port") {
		port = c.Uint("port")
	}
	version := slices.Index([]string{"1.0", "1.0c", "1.1", "2"}, strings.ToLower(c.String("protocol")))
	check.Version = config.HTTPVersion(max(version, 0))
	switch {
	case c.String("server") == "":
		return config.Checker{}, errors.New("which server? Write -s ADDRESS")
	case port == 0 || port > 65535:
		return config.Checker{}, fmt.Errorf("port %d is not between 1 and 65535", port)
	case version < 0:
		return config.Checker{}, fmt.Errorf("protocol %q: write 1.0, 1.0c, 1.1, or 2 with -S", c.String("protocol"))
	case check.Version == config.HTTP2 && check.TLS == nil:
		return config.Checker{}, errors.New("protocol 2 needs TLS: add -S")
	case !strings.HasPrefix(check.URLs[0].Path, "/"):
		return config.Checker{}, fmt.Errorf("url %q: write the path of the page, /index.html", check.URLs[0].Path)
	case uint64(c.Uint("fwmark")) > 1<<32-1:
		return config.Checker{}, fmt.Errorf("fwmark %d is more than 4294967295", c.Uint("fwmark"))
	}
	addresses, err := net.DefaultResolver.LookupNetIP(c.Context, "ip", c.String("server"))
	if err != nil {
		return config.Checker{}, fmt.Errorf("server %s: %w", c.String("server"), err)
	}
	return config.Checker{
		Check: check, Target: netip.AddrPortFrom(addresses[0].Unmap(), uint16(port)),
		FWMark: uint32(c.Uint("fwmark")), Timeout: time.Duration(c.Uint("timeout")) * time.Second,
	}, nil
}

// printPage prints what was fetched.
func printPage(w io.Writer, page probe.Page) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", page.Protocol, page.StatusText)
	for _, name := range slices.Sorted(maps.Keys(page.Header)) {
		for _, value := range page.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", page.Body)
	_, err := io.WriteString(w, b.String())
	return err
}
