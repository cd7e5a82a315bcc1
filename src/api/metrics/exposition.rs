//! [`Families`]: named numbers with labels, and how they are written.

use std::fmt;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The label by which an application is named.
pub(super) const APP: &str = "app";

/// A number, or some.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram {
        sum: f64,
        /// Upper bounds, and how many are below each and not below the one before. The last bound is infinite.
        buckets: Vec<(f64, u64)>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// Samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    /// Without the `_total` of counters.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// All that is shown. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Families(Arc<Vec<Family>>);

impl Families {
    /// Takes those that have something to show.
    pub(super) fn new(all: Vec<Family>) -> Self {
        let shown = all.into_iter().filter(|family| !family.samples.is_empty());
        Self(Arc::new(shown.collect()))
    }

    /// What is left for who sees some applications alone: nothing of the server.
    pub(super) fn only_of_apps(&self, is_seen: impl Fn(&str) -> bool) -> Self {
        let seen = |sample: &&Sample| {
            let app = sample.labels.iter().find(|(label, _)| *label == APP);
            app.is_some_and(|(_, app)| is_seen(app))
        };
        let families = self.0.iter().map(|family| Family {
            samples: family.samples.iter().filter(seen).cloned().collect(),
            ..*family
        });
        Self::new(families.collect())
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family {
            name,
            help,
            samples,
        } in &*self.0
        {
            let Some(first) = samples.first() else {
                continue;
            };
            let kind = first.value.kind();
            let mut of_name = encoder.encode_descriptor(name, help, None, kind)?;
            for sample in samples {
                let labels = &sample.labels[..];
                sample.value.encode(of_name.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Value {
    fn kind(&self) -> MetricType {
        match self {
            Self::Counter(_) => MetricType::Counter,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Histogram { .. } => MetricType::Histogram,
        }
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
            Self::Gauge(value) => encoder.encode_gauge(value),
            Self::Histogram { sum, buckets } => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
            }
        }
    }
}

/// A format that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own, 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    pub(super) const ALL: [Self; 2] = [Self::Prometheus, Self::OpenMetrics];

    /// OpenMetrics where the client names it, as Prometheus does: it would take either.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT);
        let names = |accept: &header::HeaderValue| {
            accept
                .to_str()
                .is_ok_and(|accept| accept.contains("application/openmetrics-text"))
        };
        match accepted.any(names) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn write(self, families: Families) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(families));
        let mut out = String::new();
        match self {
            Self::Prometheus => prometheus_text::encode(&mut out, &registry)?,
            Self::OpenMetrics => text::encode(&mut out, &registry)?,
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counter(labels: &[(&'static str, &str)]) -> Sample {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).into()));
        Sample {
            labels: labels.collect(),
            value: Value::Counter(1.0),
        }
    }

    fn family(samples: Vec<Sample>) -> Families {
        Families::new(vec![Family {
            name: "a",
            help: "b",
            samples,
        }])
    }

    #[test]
    fn both_formats_have_the_same_numbers() {
        let histogram = Families::new(vec![Family {
            name: "took_seconds",
            help: "How long.",
            samples: vec![Sample {
                labels: vec![(APP, "blog".into())],
                value: Value::Histogram {
                    sum: 2.5,
                    buckets: vec![(1.0, 3), (f64::INFINITY, 1)],
                },
            }],
        }]);
        let text = "# HELP took_seconds How long.\n\
                    # TYPE took_seconds histogram\n\
                    took_seconds_bucket{app=\"blog\",le=\"1\"} 3\n\
                    took_seconds_bucket{app=\"blog\",le=\"+Inf\"} 4\n\
                    took_seconds_sum{app=\"blog\"} 2.5\n\
                    took_seconds_count{app=\"blog\"} 4\n";
        assert_eq!(Format::Prometheus.write(histogram.clone()).unwrap(), text);
        let open = Format::OpenMetrics.write(histogram).unwrap();
        assert!(open.ends_with("# EOF\n"), "{open}");
        assert!(
            open.contains("took_seconds_sum{app=\"blog\"} 2.5\n"),
            "{open}"
        );
    }

    #[test]
    fn who_sees_some_applications_sees_nothing_of_others_or_of_the_server() {
        let all = family(vec![
            counter(&[(APP, "mine"), ("code", "2xx")]),
            counter(&[(APP, "other")]),
            counter(&[("code", "2xx")]),
        ]);
        let text = |families| Format::Prometheus.write(families).unwrap();
        let mine = text(all.only_of_apps(|app| app == "mine"));
        assert!(
            mine.ends_with("a_total{app=\"mine\",code=\"2xx\"} 1.0\n") && mine.lines().count() == 3,
            "{mine}"
        );
        assert_eq!(text(all.only_of_apps(|_| false)), "");
    }

    #[test]
    fn openmetrics_is_for_who_names_it() {
        let wanted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, header::HeaderValue::from_static(accept));
            Format::wanted(&headers)
        };
        assert_eq!(wanted("*/*"), Format::Prometheus);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(wanted(prometheus), Format::OpenMetrics);
    }

    proptest! {
        #[test]
        fn any_value_of_a_label_stays_in_its_quotes(value in any::<String>()) {
            for format in Format::ALL {
                let text = format.write(family(vec![counter(&[("type", &value)])])).unwrap();
                let lines: Vec<_> = text.split('\n').collect();
                let line = lines[2];
                let shown = line.strip_prefix("a_total{type=\"").and_then(|l| {
                    l.strip_suffix("\"} 1").or_else(|| l.strip_suffix("\"} 1.0"))
                });
                let mut back = String::new();
                let mut rest = shown.expect(line).chars();
                while let Some(c) = rest.next() {
                    prop_assert!(c != '"', "{line}");
                    back.push(match c {
                        '\\' => match rest.next() {
                            Some('n') => '\n',
                            Some(c @ ('\\' | '"')) => c,
                            other => panic!("{other:?}"),
                        },
                        plain => plain,
                    });
                }
                prop_assert_eq!(back, value.clone());
            }
        }
    }
}
