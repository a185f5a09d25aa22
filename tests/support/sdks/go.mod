// The SDKs of Go that the tests of the edge run, unmodified, where Go is.
module headrace/sdks

go 1.21

require (
	github.com/amplitude/analytics-go v1.3.0
	github.com/mixpanel/mixpanel-go v1.2.1
	github.com/posthog/posthog-go v1.9.0
	github.com/rudderlabs/analytics-go/v4 v4.2.0
	github.com/segmentio/analytics-go/v3 v3.3.0
)

require (
	github.com/goccy/go-json v0.10.5 // indirect
	github.com/google/uuid v1.3.0 // indirect
	github.com/hashicorp/golang-lru/v2 v2.0.7 // indirect
	github.com/segmentio/backo-go v1.0.1 // indirect
	github.com/tidwall/gjson v1.14.4 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.1 // indirect
)
