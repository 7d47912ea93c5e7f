// What the report needs of Vega and Vega-Lite, and no more: parsing, views drawn as SVG, and the expression interpreter that needs no eval.
import {transforms} from 'vega-dataflow';
import * as basic from 'vega-transforms';
import * as view from 'vega-view-transforms';
import * as encode from 'vega-encode';
import {View} from 'vega-view';
import {parse} from 'vega-parser';
import {compile} from 'vega-lite';
import {expressionInterpreter} from 'vega-interpreter';

Object.assign(transforms, basic, view, encode);
globalThis.shardmillVega = {View, parse, compile, expressionInterpreter};
