//! Charts as SVG, drawn by plotters: one look, colours that the colour-blind can tell apart, and
//! a shape for each series besides.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::escape;

/// Drawing units; the page scales them.
const WIDTH: u32 = 860;
const HEIGHT: u32 = 420;
const LEGEND_WIDTH: u32 = 200;
const LEGEND_LINE: i32 = 24;
const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 15;
/// Of a value above its bar.
const LABEL_SIZE: u32 = 11;

/// Stands for the page's own ink, light or dark: replaced by `currentColor` once drawn.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_DRAWN: &str = "#010203";

/// A colour of a series, of those that Okabe and Ito chose so that the colour-blind tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// The page's own, light or dark.
    Ink,
    Blue,
    Vermilion,
    Green,
    Purple,
    Orange,
    Sky,
}

impl Hue {
    fn colour(self) -> RGBColor {
        match self {
            Self::Ink => INK,
            Self::Blue => RGBColor(0, 114, 178),
            Self::Vermilion => RGBColor(213, 94, 0),
            Self::Green => RGBColor(0, 158, 115),
            Self::Purple => RGBColor(204, 121, 167),
            Self::Orange => RGBColor(230, 159, 0),
            Self::Sky => RGBColor(86, 180, 233),
        }
    }
}

/// What a chart is called and what its axes measure, with units.
pub struct Chart<'a> {
    pub title: &'a str,
    /// For those who cannot see it.
    pub description: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

/// One curve over 1, 2, 3, ….
pub struct Curve<'a> {
    pub name: &'a str,
    pub hue: Hue,
    pub mark: Mark,
    pub values: &'a [f64],
}

/// One series of points, one for each group; a group may have none.
pub struct Points<'a> {
    pub name: &'a str,
    pub hue: Hue,
    pub mark: Mark,
    /// Mean and spread.
    pub values: Vec<Option<(f64, f64)>>,
}

/// One series of bars, one for each group, from zero; a group may have none.
pub struct Bars<'a> {
    pub name: &'a str,
    pub hue: Hue,
    pub values: Vec<Option<f64>>,
}

/// What a point looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A hollow ring: something to compare with.
    Ring,
    /// A filled disc: what the chart is about.
    Disc,
    Triangle,
    Cross,
    /// A short line across.
    Bar,
    /// A filled square: a bar of this colour.
    Square,
}

/// A chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the chart `{title}` could not be drawn: {why}")]
pub struct ChartError {
    title: String,
    why: String,
}

/// Curves over 1, 2, 3, ….
///
/// # Errors
/// If there is nothing to draw, or plotters fails.
pub fn curves(chart: &Chart<'_>, series: &[Curve<'_>]) -> Result<String, ChartError> {
    let failed = |why: String| ChartError {
        title: chart.title.to_owned(),
        why,
    };
    let longest = series
        .iter()
        .map(|curve| curve.values.len())
        .max()
        .filter(|length| *length > 1);
    let longest = longest.ok_or_else(|| failed("no curve has two points".to_owned()))?;
    let (low, high) = extent(
        series.iter().flat_map(|curve| curve.values.iter().copied()),
        0.05,
    );
    let mut svg = String::new();
    {
        let (plot, legend) = areas(&mut svg);
        let mut context = framed(&plot, 1.0..longest as f64, low..high).map_err(&failed)?;
        context
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.15))
            .axis_style(INK)
            .label_style(ink())
            .axis_desc_style(ink())
            .x_labels(longest.min(15))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.2}"))
            .x_desc(chart.x)
            .y_desc(chart.y)
            .draw()
            .map_err(|error| failed(error.to_string()))?;
        for (at, curve) in series.iter().enumerate() {
            let (colour, mark) = (curve.hue.colour(), curve.mark);
            let points = || (1..).map(f64::from).zip(curve.values.iter().copied());
            context
                .draw_series(LineSeries::new(points(), colour.stroke_width(2)))
                .map_err(|error| failed(error.to_string()))?;
            let draw = |x: f64, y: f64| {
                let place = context.backend_coord(&(x, y));
                draw_mark(&plot, mark, place, colour)
            };
            points()
                .try_for_each(|(x, y)| draw(x, y))
                .map_err(&failed)?;
            legend_line(&legend, at, curve.name, mark, colour).map_err(&failed)?;
        }
        plot.present().map_err(|error| failed(error.to_string()))?;
    }
    Ok(dressed(&svg, chart))
}

/// Points in groups along the x axis, each series beside the other within its group.
///
/// # Errors
/// If there is nothing to draw, or plotters fails.
pub fn points_by_group(
    chart: &Chart<'_>,
    groups: &[&str],
    series: &[Points<'_>],
) -> Result<String, ChartError> {
    let failed = |why: String| ChartError {
        title: chart.title.to_owned(),
        why,
    };
    let known = || {
        series
            .iter()
            .flat_map(|points| points.values.iter().flatten())
    };
    if groups.is_empty() || known().next().is_none() {
        return Err(failed("there is no point".to_owned()));
    }
    let ends = known().flat_map(|(mean, spread)| [mean - spread, mean + spread]);
    let (low, high) = extent(ends, 0.06);
    let mut svg = String::new();
    {
        let (plot, legend) = areas(&mut svg);
        let mut context = in_groups(&plot, chart, groups, low..high).map_err(&failed)?;
        for (at, points) in series.iter().enumerate() {
            let colour = points.hue.colour();
            let offset = 0.7 * ((at as f64 + 0.5) / series.len() as f64 - 0.5);
            for (group, value) in (0..groups.len()).zip(&points.values) {
                let Some((mean, spread)) = *value else {
                    continue;
                };
                let x = group as f64 + offset;
                if spread > 0.0 {
                    let line = [(x, mean - spread), (x, mean + spread)];
                    context
                        .draw_series(std::iter::once(PathElement::new(
                            line.to_vec(),
                            colour.stroke_width(1),
                        )))
                        .map_err(|error| failed(error.to_string()))?;
                }
                draw_mark(
                    &plot,
                    points.mark,
                    context.backend_coord(&(x, mean)),
                    colour,
                )
                .map_err(&failed)?;
            }
            legend_line(&legend, at, points.name, points.mark, colour).map_err(&failed)?;
        }
        plot.present().map_err(|error| failed(error.to_string()))?;
    }
    Ok(dressed(&svg, chart))
}

/// Bars in groups along the x axis, each series beside the other within its group, all from zero, with each bar's value
/// above it.
///
/// # Errors
/// If there is nothing to draw, or plotters fails.
pub fn bars_by_group(
    chart: &Chart<'_>,
    groups: &[&str],
    series: &[Bars<'_>],
    decimals: usize,
) -> Result<String, ChartError> {
    let failed = |why: String| ChartError {
        title: chart.title.to_owned(),
        why,
    };
    let known = series
        .iter()
        .flat_map(|bars| bars.values.iter().flatten().copied());
    let highest = known.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if groups.is_empty() || highest <= 0.0 {
        return Err(failed("there is no bar".to_owned()));
    }
    let mut svg = String::new();
    {
        let (plot, legend) = areas(&mut svg);
        let mut context = in_groups(&plot, chart, groups, 0.0..1.1 * highest).map_err(&failed)?;
        let width = 0.8 / series.len() as f64;
        for (at, bars) in series.iter().enumerate() {
            let colour = bars.hue.colour();
            for (group, value) in (0..groups.len()).zip(&bars.values) {
                let Some(value) = value.filter(|value| value.is_finite()) else {
                    continue;
                };
                let left = group as f64 - 0.4 + width * at as f64;
                let corners = [(left + 0.05 * width, 0.0), (left + 0.95 * width, value)];
                context
                    .draw_series(std::iter::once(Rectangle::new(corners, colour.filled())))
                    .map_err(|error| failed(error.to_string()))?;
                let top = context.backend_coord(&(left + width / 2.0, value));
                label(&plot, &format!("{value:.decimals$}"), top).map_err(&failed)?;
            }
            legend_line(&legend, at, bars.name, Mark::Square, colour).map_err(&failed)?;
        }
        plot.present().map_err(|error| failed(error.to_string()))?;
    }
    Ok(dressed(&svg, chart))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The plot's area and the legend's.
fn areas(svg: &mut String) -> (Area<'_>, Area<'_>) {
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    root.split_horizontally(WIDTH - LEGEND_WIDTH)
}

fn framed<'a>(
    plot: &Area<'a>,
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
) -> Result<Context<'a>, String> {
    ChartBuilder::on(plot)
        .margin(12)
        .x_label_area_size(52)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())
}

/// A frame with the groups' names along the x axis and borders between them.
fn in_groups<'a>(
    plot: &Area<'a>,
    chart: &Chart<'_>,
    groups: &[&str],
    y: std::ops::Range<f64>,
) -> Result<Context<'a>, String> {
    let (low, high) = (y.start, y.end);
    let mut context = framed(plot, -0.5..groups.len() as f64 - 0.5, y)?;
    let name_of = |x: &f64| group_at(*x, groups).unwrap_or_default().to_owned();
    context
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        // A label at every half: those that are no group's own are empty.
        .x_labels(2 * groups.len() + 1)
        .x_label_formatter(&name_of)
        .y_label_formatter(&|y| format!("{y:.2}"))
        .x_desc(chart.x)
        .y_desc(chart.y)
        .draw()
        .map_err(|error| error.to_string())?;
    for border in 1..groups.len() {
        let x = border as f64 - 0.5;
        let line = PathElement::new(vec![(x, low), (x, high)], INK.mix(0.15));
        context
            .draw_series(std::iter::once(line))
            .map_err(|error| error.to_string())?;
    }
    Ok(context)
}

/// A small text above a place of the whole drawing.
fn label(plot: &Area<'_>, text: &str, place: (i32, i32)) -> Result<(), String> {
    let origin = plot.get_pixel_range();
    let place = (place.0 - origin.0.start, place.1 - origin.1.start - 3);
    let small = (FONT, LABEL_SIZE).into_font().color(&INK);
    let style = small.pos(Pos::new(HPos::Center, VPos::Bottom));
    plot.draw_text(text, &style, place)
        .map_err(|error| error.to_string())
}

fn ink() -> TextStyle<'static> {
    (FONT, FONT_SIZE).into_font().color(&INK)
}

/// The group whose own place `x` is.
fn group_at<'a>(x: f64, groups: &[&'a str]) -> Option<&'a str> {
    let near = x.round();
    let is_at = (x - near).abs() < 1e-6 && near >= 0.0;
    // Small and not negative, so it fits.
    is_at.then(|| groups.get(near as usize).copied()).flatten()
}

fn draw_mark(
    area: &Area<'_>,
    mark: Mark,
    place: (i32, i32),
    colour: RGBColor,
) -> Result<(), String> {
    // A plot's own coordinates are those of the whole drawing.
    let origin = area.get_pixel_range();
    let (x, y) = (place.0 - origin.0.start, place.1 - origin.1.start);
    let stroke = colour.stroke_width(2);
    match mark {
        Mark::Ring => area.draw(&Circle::new((x, y), 5, stroke)),
        Mark::Disc => area.draw(&Circle::new((x, y), 6, colour.filled())),
        Mark::Triangle => area.draw(&TriangleMarker::new((x, y), 7, colour.filled())),
        Mark::Cross => area.draw(&Cross::new((x, y), 5, stroke)),
        Mark::Square => {
            let corners = [(x - 6, y - 6), (x + 6, y + 6)];
            area.draw(&Rectangle::new(corners, colour.filled()))
        }
        Mark::Bar => area.draw(&PathElement::new(
            vec![(x - 8, y), (x + 8, y)],
            colour.stroke_width(3),
        )),
    }
    .map_err(|error| error.to_string())
}

fn legend_line(
    legend: &Area<'_>,
    at: usize,
    name: &str,
    mark: Mark,
    colour: RGBColor,
) -> Result<(), String> {
    let line = i32::try_from(at)
        .unwrap_or(i32::MAX / LEGEND_LINE)
        .saturating_mul(LEGEND_LINE);
    let y = 24 + line;
    let origin = legend.get_pixel_range();
    draw_mark(
        legend,
        mark,
        (origin.0.start + 14, origin.1.start + y),
        colour,
    )?;
    let style = ink().pos(Pos::new(HPos::Left, VPos::Center));
    legend
        .draw_text(name, &style, (30, y))
        .map_err(|error| error.to_string())
}

/// Lowest and highest value with some room around, within which everything is drawn.
fn extent(values: impl Iterator<Item = f64>, room: f64) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let around = f64::max((high - low) * room, 0.01);
    if low > high {
        (0.0, 1.0)
    } else {
        (low - around, high + around)
    }
}

/// The drawing with a name and a description, in the page's own ink.
fn dressed(svg: &str, chart: &Chart<'_>) -> String {
    let (title, description) = (escape(chart.title), escape(chart.description));
    let svg = svg.replace(INK_DRAWN, "currentColor");
    match svg.split_once('>') {
        Some((open, rest)) => {
            format!(
                "{open} role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<desc>{description}</desc>{rest}"
            )
        }
        None => svg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: Chart<'_> = Chart {
        title: "loss < 1 & falling",
        description: "it falls",
        x: "round",
        y: "loss (nats)",
    };

    #[test]
    fn a_chart_says_what_it_shows_in_the_pages_own_ink() {
        let falling = [0.9, 0.5, 0.3];
        let svg = curves(
            &CHART,
            &[Curve {
                name: "FedAvg",
                hue: Hue::Ink,
                mark: Mark::Ring,
                values: &falling,
            }],
        )
        .unwrap();
        for part in [
            "<title>loss &lt; 1 &amp; falling</title>",
            "<desc>it falls</desc>",
            "loss (nats)",
            "FedAvg",
            "currentColor",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains(INK_DRAWN));
    }

    #[test]
    fn every_group_has_its_label_and_every_known_point_its_mark() {
        let ring = Points {
            name: "before",
            hue: Hue::Ink,
            mark: Mark::Ring,
            values: vec![Some((0.5, 0.1)), None],
        };
        let disc = Points {
            name: "after",
            hue: Hue::Green,
            mark: Mark::Disc,
            values: vec![Some((0.7, 0.0)), Some((0.8, 0.0))],
        };
        let svg = points_by_group(&CHART, &["here", "there"], &[ring, disc]).unwrap();
        assert!(svg.contains("here") && svg.contains("there"));
        // One ring, two discs, and one of each in the legend.
        assert_eq!(svg.matches("<circle").count(), 5);
    }

    #[test]
    fn every_known_bar_stands_with_its_value() {
        let bars = |name, hue, values| Bars { name, hue, values };
        let series = [
            bars("before", Hue::Ink, vec![Some(0.5), None]),
            bars("after", Hue::Green, vec![Some(0.75), Some(0.25)]),
        ];
        let svg = bars_by_group(&CHART, &["here", "there"], &series, 3).unwrap();
        for part in [
            "here", "there", "0.500", "0.750", "0.250", "before", "after",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(
            curves(
                &CHART,
                &[Curve {
                    name: "a",
                    hue: Hue::Ink,
                    mark: Mark::Ring,
                    values: &[0.5]
                }]
            )
            .is_err()
        );
        assert!(points_by_group(&CHART, &[], &[]).is_err());
        assert!(bars_by_group(&CHART, &["here"], &[], 2).is_err());
    }
}
