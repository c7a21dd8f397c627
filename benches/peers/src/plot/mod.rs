//! Pictures of a run, as SVG, from its JSON alone.
//!
//! | file | contents |
//! |---|---|
//! | `figures` | the medians of a report |
//! | `bars` | one bar per peer, in panels |
//! | `ranges` | from the median to the 99th percentile, one line per peer, in panels |
//! | `lines` | one line per peer, over the loss |
//! | `engine` | the cost of a delivery without sockets, from the report of another bench |
//! | `panel` | the common parts of panels: names at the left, an axis below |
//! | `scale`, `svg` | figures to pixels, pixels to a file |

mod bars;
mod engine;
mod figures;
mod lines;
mod panel;
mod ranges;
mod scale;
mod svg;

use std::fs;
use std::path::Path;

use serde_json::Value;

use self::bars::Bars;
use self::figures::Figures;
use self::ranges::Ranges;
use crate::error::{Error, Result};

/// Draws into `folder` all pictures for which the report has figures.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(report: &Value, folder: &Path) -> Result<()> {
    let figures = Figures::of(report);
    let lost = lines::draw(&figures);
    let pictures = [
        ("cpu.svg", bars::draw("CPU time of the server for a delivery", CPU, &figures)),
        ("saturation.svg", bars::draw("What one core delivers", SATURATION, &figures)),
        ("bulk.svg", bars::draw("Bulk", BULK, &figures)),
        ("idle.svg", bars::draw("What idle connections cost the server", IDLE, &figures)),
        ("bytes.svg", bars::draw("Bytes on the wire for a delivery", BYTES, &figures)),
        ("latency.svg", ranges::draw("How long a delivery takes", LATENCY, &figures)),
        ("loss.svg", lost),
    ];
    write(folder, pictures)
}

/// Draws the picture of the file that `cargo bench --bench fanout -- --json` wrote.
///
/// # Errors
/// When the file cannot be written.
pub fn draw_engine(report: &Value, folder: &Path) -> Result<()> {
    write(folder, [("engine.svg", engine::draw(report))])
}

/// Writes the existing pictures into a folder.
fn write<const N: usize>(folder: &Path, pictures: [(&str, Option<String>); N]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(format_args!("making {}", folder.display())))?;
    for (name, picture) in pictures {
        let Some(picture) = picture else { continue };
        let file = folder.join(name);
        fs::write(&file, picture).map_err(Error::io(format_args!("writing {}", file.display())))?;
    }
    Ok(())
}

const CPU: &[Bars] = &[
    Bars {
        workload: "broadcast-1x8@30",
        heading: "1 session of 8, 30 messages/s each",
        figure: "server_cpu_us_per_delivery",
        unit: "µs",
    },
    Bars {
        workload: "broadcast-8x8@30",
        heading: "8 sessions of 8, 30 messages/s each",
        figure: "server_cpu_us_per_delivery",
        unit: "µs",
    },
    Bars {
        workload: "broadcast-1x64@20",
        heading: "1 session of 64, 20 messages/s each",
        figure: "server_cpu_us_per_delivery",
        unit: "µs",
    },
];
const SATURATION: &[Bars] = &[
    Bars {
        workload: "saturation",
        heading: "Sessions of 8 at 30 Hz until the 99th percentile passes 50 ms or messages are missing",
        figure: "deliveries_per_s",
        unit: "deliveries/s",
    },
    Bars {
        workload: "saturation",
        heading: "The same, divided by the part of its core that the server used",
        figure: "deliveries_per_full_core",
        unit: "deliveries/s",
    },
];
const BULK: &[Bars] = &[
    Bars {
        workload: "bulk",
        heading: "One client with 256 messages of 1,000 bytes under way, there and back",
        figure: "mb_per_s",
        unit: "MB/s",
    },
    Bars {
        workload: "bulk",
        heading: "CPU time of the server for a message",
        figure: "server_cpu_us_per_delivery",
        unit: "µs",
    },
];
const IDLE: &[Bars] = &[
    Bars {
        workload: "idle-1000",
        heading: "Resident memory a connection, of 1,000",
        figure: "rss_per_connection_kib",
        unit: "KiB",
    },
    Bars {
        workload: "idle-1000",
        heading: "CPU time for 1,000 connections, a second",
        figure: "server_cpu_ms_per_s",
        unit: "ms/s",
    },
];
const BYTES: &[Bars] = &[Bars {
    workload: "broadcast-8x8@30",
    heading: "8 sessions of 8, messages of 64 bytes: both ways, acks included, without UDP's and IP's headers",
    figure: "bytes_per_delivery",
    unit: "bytes",
}];
const LATENCY: &[Ranges] = &[
    Ranges { workload: "broadcast-1x8@30", heading: "1 session of 8, 30 messages/s each" },
    Ranges { workload: "broadcast-8x8@30", heading: "8 sessions of 8, 30 messages/s each" },
    Ranges { workload: "echo", heading: "1 client alone, 2,000 messages/s" },
];
