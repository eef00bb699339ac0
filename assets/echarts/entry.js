// The parts of Apache ECharts that the report page uses; see README.md for how echarts.min.js is made from this.
import * as core from "echarts/core";
import { HeatmapChart, LineChart } from "echarts/charts";
import {
  AriaComponent, DataZoomComponent, GridComponent, LegendScrollComponent, MarkLineComponent, MarkPointComponent,
  TooltipComponent, VisualMapContinuousComponent,
} from "echarts/components";
import { CanvasRenderer, SVGRenderer } from "echarts/renderers";
core.use([
  HeatmapChart, LineChart, AriaComponent, DataZoomComponent, GridComponent, LegendScrollComponent, MarkLineComponent,
  MarkPointComponent, TooltipComponent, VisualMapContinuousComponent, CanvasRenderer, SVGRenderer,
]);
window.echarts = core;
